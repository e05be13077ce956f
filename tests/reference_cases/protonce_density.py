import torch

from textcl.arithmetic import unit
from textcl.contrast.density import density


def run(case):
    inputs, hyper = case["inputs"], case["hyper"]
    features = unit(torch.tensor(inputs["features_raw"]))
    centroids = torch.tensor(inputs["centroids_unnormalised"])
    assignment = torch.tensor(inputs["assignment"])
    phi = density(features, assignment, centroids, hyper["temperature"], hyper["alpha"])
    return {"density": phi.numpy(), "centroids": unit(centroids).numpy()}
