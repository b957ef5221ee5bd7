#!/usr/bin/env python3
"""ResNet-18 and MobileNetV2 of torchvision with random weights and statistics, as PyTorch exports them: python3 bench/networks.py DIR

Writes DIR/NAME.onnx, and for batches of 1 and 32 an input and PyTorch's answer as raw f32: DIR/NAME_BATCH/x.f32 and y.f32.
"""

import pathlib
import sys
import warnings

import torch
import torchvision

NETWORKS = {"resnet18": torchvision.models.resnet18, "mobilenetv2": torchvision.models.mobilenet_v2}
BATCHES = (1, 32)


def network(make):
    net = make(weights=None).eval()
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
    for name, make in NETWORKS.items():
        net = network(make)
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
