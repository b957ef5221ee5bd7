"""Values of shap and Captum that explanations are held to: python3 reference.py > reference.json"""

import json

import numpy as np
import shap
import torch
from captum.attr import IntegratedGradients
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.linear_model import LinearRegression

rng = np.random.default_rng(3)
width, train = 6, 400
single = lambda array: np.float32(np.round(array, 4)).astype(float)
x = single(rng.normal(size=(train, width)))
y = 2 * x[:, 0] + np.where(x[:, 1] > 0.3, 3.0, -1.0) * (x[:, 2] > 0) + 0.3 * x[:, 3] ** 2
rows, background = x[:12], x[100:140]


def lists(model, outputs, rate):
    """Scikit-learn's trees as the lists of kiln's layer: `x <= threshold` goes to the first child."""
    all = dict(roots=[], columns=[], thresholds=[], children=[], values=[], targets=[])
    for stage in model.estimators_:
        for output, tree in enumerate(stage):
            tree, root = tree.tree_, len(all["columns"])
            all["roots"].append(root)
            all["targets"].append(output if len(stage) > 1 else outputs - 1)
            for at in range(tree.node_count):
                leaf = tree.children_left[at] == -1
                own, first, second = root + at, root + tree.children_left[at], root + tree.children_right[at]
                all["columns"].append(0 if leaf else int(tree.feature[at]))
                # Thresholds lie between numbers of four digits: single floats tell the same.
                all["thresholds"].append(0.0 if leaf else float(np.float32(tree.threshold[at])))
                all["children"] += [int(n) for n in ([own] * 4 if leaf else [first, first, second, second])]
                all["values"].append(float(np.float32(tree.value[at].item() * rate)) if leaf else 0.0)
    return all


def forest(model, outputs):
    values = shap.TreeExplainer(model, data=background, feature_perturbation="interventional")
    return lists(model, outputs, model.learning_rate), values.shap_values(rows, check_additivity=False)


number = GradientBoostingRegressor(n_estimators=15, max_depth=4, random_state=1).fit(x, y)
of_number, number_values = forest(number, 1)
two = GradientBoostingClassifier(n_estimators=12, max_depth=3, random_state=1).fit(x, y > 1.5)
of_two, two_values = forest(two, 2)

line = LinearRegression().fit(x, y)
line_values = shap.LinearExplainer(line, shap.maskers.Independent(background, max_samples=1000)).shap_values(rows)

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Linear(width, 8), torch.nn.ReLU(), torch.nn.Linear(8, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)
)
for parameter in network.parameters():
    parameter.data = (parameter.data * 2).float()
inputs, mean = torch.tensor(rows).float(), torch.tensor(background.mean(0, keepdims=True)).float()
gradients = IntegratedGradients(network)
moved = [
    gradients.attribute(inputs, mean, target=target, n_steps=50, method="gausslegendre").detach().numpy().tolist()
    for target in range(3)
]

print(
    json.dumps(
        dict(
            shap=shap.__version__,
            torch=torch.__version__,
            rows=rows.tolist(),
            background=background.tolist(),
            number=dict(forest=of_number, moved=np.asarray(number_values).tolist()),
            two=dict(forest=of_two, moved=np.asarray(two_values).tolist()),
            line=dict(weight=line.coef_.tolist(), moved=np.asarray(line_values).tolist()),
            network=dict(
                weights=[parameter.detach().numpy().T.tolist() for parameter in network.parameters()], moved=moved
            ),
        )
    )
)
