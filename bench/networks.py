#!/usr/bin/env python3
"""Networks of torchvision and timm with random weights and statistics, as PyTorch exports them: python3 bench/networks.py DIR [NAME...]

Writes DIR/NAME.onnx, and for batches of 1 and 32 an input and PyTorch's answer as raw f32: DIR/NAME_BATCH/x.f32 and y.f32.
"""

import pathlib
import sys
import warnings

import timm
import torch
import torchvision

MODELS = torchvision.models
NETWORKS = {
    "resnet18": lambda: MODELS.resnet18(weights=None),
    "resnet50": lambda: MODELS.resnet50(weights=None),
    "mobilenetv2": lambda: MODELS.mobilenet_v2(weights=None),
    "mobilenetv4": lambda: timm.create_model("mobilenetv4_conv_small"),
    "efficientnet": lambda: MODELS.efficientnet_b0(weights=None),
    "convnext": lambda: MODELS.convnext_tiny(weights=None),
    "vit": lambda: MODELS.vit_b_16(weights=None),
    "deeplabv3": lambda: FirstOutput(MODELS.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None)),
}
BATCHES = (1, 32)


class FirstOutput(torch.nn.Module):
    """The first of several outputs."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)["out"]


def network(make):
    net = make().eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    return net


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    warnings.simplefilter("ignore")
    for name in sys.argv[2:] or NETWORKS:
        net = network(NETWORKS[name])
        # Norms stay nodes of their own, as in a file that is to be trained further; ONNX Runtime folds them into convolutions.
        torch.onnx.export(net, torch.randn(1, 3, 224, 224), folder / f"{name}.onnx", dynamo=False, opset_version=17, input_names=["x"],
                          output_names=["y"], dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, do_constant_folding=False,
                          training=torch.onnx.TrainingMode.PRESERVE)
        for batch in BATCHES:
            x = torch.randn(batch, 3, 224, 224)
            with torch.no_grad():
                y = net(x)
            own = folder / f"{name}_{batch}"
            own.mkdir(exist_ok=True)
            x.numpy().tofile(own / "x.f32")
            y.numpy().tofile(own / "y.f32")


if __name__ == "__main__":
    main()
