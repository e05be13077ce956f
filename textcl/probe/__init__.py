"""The shape of a space, model beside model."""
