import numpy as np
from sklearn.metrics import f1_score

from textcl.evaluation.descent import Descent, rmsprop
from textcl.evaluation.linear_probe import GradientTrainer, LogisticTrainer
from textcl.evaluation.transfer import (
    nested_folds,
    pair_features,
    senteval_order,
    train_and_test,
    train_dev_test,
)

FAST = GradientTrainer(Descent(rmsprop, batch=128, patience=3, passes=2))


def run(case):
    given, hyper = case["inputs"], case["hyper"]
    trainer = FAST if hyper["mode"] == "fast" else GradientTrainer()
    trainer = LogisticTrainer() if hyper["classifier"] == "sklearn" else trainer
    labels, task = np.array(given["labels"]), hyper["task"].split()[0]
    lengths = [given[key] for key in ("lengths", "lengths_a", "lengths_b") if key in given]
    train = given.get("train_rows", len(labels))
    sizes = given.get("split_sizes", [size for size in (train, len(labels) - train) if size])
    order, start = [], 0
    for size in sizes:
        part = slice(start, start + size)
        order.append(start + senteval_order(labels[part], *(each[part] for each in lengths)))
        start += size
    order = np.concatenate(order)
    if task == "MRPC":
        rows = pair_features(*(np.array(given[key], np.float32) for key in "ab"))[order]
    else:
        rows = np.array(given["embeddings"], np.float32)[order]
    labels = labels[order]
    if task == "SST2":
        score = train_dev_test(rows, labels, *sizes[:2], trainer)
    elif task in ("TREC", "MRPC"):
        score = train_and_test(rows, labels, train, trainer, hyper["folds"])
    else:  # MR, CR, SUBJ, MPQA
        score = nested_folds(rows, labels, trainer, hyper["folds"])
    result = {"devacc": score.dev_accuracy, "acc": score.accuracy}
    if task == "MRPC":
        result["f1"] = round(100 * f1_score(labels[train:], score.predicted), 2)
    return result
