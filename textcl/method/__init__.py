"""The composition that a recipe builds: views, encoders, routes, objective, hooks and backprop."""
