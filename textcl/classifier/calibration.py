"""Fit a classifier's temperature and thresholds on held-out rows, and tell what that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, logit

from textcl.classifier.classifier import Classifier, Targets
from textcl.classifier.fitting import TEMPERATURES, fit_temperature, fit_thresholds
from textcl.classifier.folder import NOTE_FILE
from textcl.data.arguments import checked_arguments
from textcl.data.files import write_json
from textcl.data.json_files import JsonObject
from textcl.data.texts import as_texts
from textcl.errors import UserError
from textcl.evaluation.classification import BINS, bin_of, class_f1

_FOLDS, _RESAMPLES, _FEW = 5, 1000, 1000


@dataclass(frozen=True)
class Change:
    """A measure before and after, on rows that nothing was fitted on.

    Args:
        before: With the classifier as it was.
        after: Each fifth of the rows with what the other four fifths gave.
        low: Lower end of the 95 % interval of the difference, by bootstrap over the rows.
        high: Its upper end.
    """

    before: float
    after: float
    low: float
    high: float

    def describe(self) -> str:
        """Before, after and the interval, times 100."""
        return (
            f"{100 * self.before:.2f} → {100 * self.after:.2f} "
            f"(95 % interval of the change {100 * self.low:+.2f} to {100 * self.high:+.2f})"
        )


@dataclass(frozen=True)
class CalibrationReport:
    """Result of a calibration: what was fitted, its effect on rows left out of the fit, and what is used.

    A fit is used where the whole 95 % interval of its change is an improvement; else the classifier stays as it was.

    Args:
        temperature: Divides the logits from now on.
        thresholds: Of each class from now on, where texts have several; else 0.5 everywhere.
        rows: Rows that both were fitted on.
        fitted: The temperature that was fitted; one of `TEMPERATURES` where the rows do not determine one.
        error: Expected calibration error, in [0, 1].
        f1: Macro-F1 with thresholds, where texts have several labels.
        uses_temperature: Whether `temperature` is the fitted one.
        uses_thresholds: Whether `thresholds` are the fitted ones.
    """

    temperature: float
    thresholds: Float[np.ndarray, " C"]
    rows: int
    fitted: float
    error: Change
    f1: Change | None
    uses_temperature: bool
    uses_thresholds: bool

    @property
    def changed(self) -> bool:
        """Whether anything of the classifier changed."""
        return self.uses_temperature or self.uses_thresholds

    @property
    def error_before(self) -> float:
        """Expected calibration error of the classifier as it was."""
        return self.error.before

    @property
    def error_after(self) -> float:
        """The same from now on."""
        return self.error.after if self.uses_temperature else self.error.before

    @property
    def f1_before(self) -> float | None:
        """Macro-F1 with the thresholds as they were, where texts have several labels."""
        return self.f1 and self.f1.before

    @property
    def f1_after(self) -> float | None:
        """The same from now on."""
        return self.f1 and (self.f1.after if self.uses_thresholds else self.f1.before)

    def describe(self) -> str:
        """Lines for the terminal."""
        lines = [self._temperature_line()]
        if self.f1 is not None:
            low, high = self.thresholds.min(), self.thresholds.max()
            line = f"macro-F1 × 100 {self.f1.describe()}"
            lines.append(
                f"thresholds {low:.3f} to {high:.3f}: {line}"
                if self.uses_thresholds
                else f"thresholds stay as they are: fitted ones are not better beyond doubt, {line}"
            )
        if self.fitted in TEMPERATURES and self.f1 is None:  # there is no interval
            return "\n".join(lines)
        lines.append(
            f"{self.rows:,} rows, {BINS} bins; after: each fifth of the rows as fitted on the other four"
        )
        kept = not self.uses_temperature or (self.f1 and not self.uses_thresholds)
        if kept and self.rows < _FEW:
            lines.append("more rows make the interval narrower; a hundred are few")
        return "\n".join(lines)

    def _temperature_line(self) -> str:
        kept = f"temperature stays {self.temperature:.3f}: "
        if self.fitted == TEMPERATURES[0]:
            return (
                f"{kept}no row speaks against certainty, so these {self.rows:,} determine none; "
                "bring rows that the classifier gets wrong"
            )
        if self.fitted == TEMPERATURES[1]:
            return f"{kept}the logits say nothing about these labels; are they of this classifier?"
        line = f"expected calibration error × 100 {self.error.describe()}"
        if self.uses_temperature:
            return f"temperature {self.temperature:.3f}: {line}"
        return f"{kept}the fitted {self.fitted:.3f} is not better beyond doubt, {line}"


@checked_arguments
def calibrate(
    classifier: Classifier, texts: Iterable[str], labels: Iterable[object], place: str = "the data"
) -> CalibrationReport:
    """Fit the temperature, and where texts have several labels the thresholds, and set those that are better.

    Better is measured on rows that were not fitted on, and has to hold for the whole 95 % interval of the change.

    Args:
        classifier: What is calibrated. Which class of a text is the most probable does not change.
        texts: Held-out texts: neither trained on nor to be tested on.
        labels: A name for each, or a list of names.
        place: What a message calls them.

    Raises:
        UserError: If a label is none of the classes, or there are fewer than 10 rows.
    """
    texts = list(as_texts(texts))
    if len(texts) < 10:
        raise _too_few(len(texts), place)
    targets = classifier.targets(labels, place)
    return calibrate_on(classifier, classifier.logits(texts, precision="float32"), targets, place)


def calibrate_on(
    classifier: Classifier, logits: Float[np.ndarray, "N C"], targets: Targets, place: str
) -> CalibrationReport:
    """The same, of texts whose class logits are at hand.

    Args:
        classifier: What is calibrated.
        logits: Of the held-out texts.
        targets: Of these texts.
        place: What a message calls them.

    Raises:
        UserError: If there are fewer than 10 rows.
    """
    if len(logits) < 10:
        raise _too_few(len(logits), place)
    logits = np.asarray(logits, np.float64)
    old, fitted = classifier.temperature, fit_temperature(logits, targets)
    error = _error_change(logits, targets, classifier)
    uses_temperature = fitted not in TEMPERATURES and error.high < 0
    temperature = fitted if uses_temperature else old
    # the same decisions as before, at the new temperature
    thresholds = expit(_log_odds(classifier.thresholds) * old / temperature)
    f1, uses_thresholds = None, False
    if targets.ndim == 2:
        probabilities = classifier.probabilities(logits, temperature).astype(np.float64)
        f1 = _f1_change(probabilities, targets, thresholds)
        uses_thresholds = f1.low > 0
        if uses_thresholds:
            thresholds = fit_thresholds(probabilities, targets)
    classifier.temperature, classifier.thresholds = temperature, thresholds
    return CalibrationReport(
        temperature, thresholds, len(logits), fitted, error, f1, uses_temperature, uses_thresholds
    )


def _too_few(rows: int, place: str) -> UserError:
    return UserError(f"{place} has {rows} rows: calibration takes 10 or more, better hundreds")


def write_calibration(folder: Path, report: CalibrationReport, data: str) -> None:
    """Put the temperature and thresholds into a classifier's folder; its weights are not touched.

    Args:
        folder: What `Classifier.save_pretrained` wrote.
        report: What `calibrate` gave.
        data: Name of the rows, for the reader of the file.
    """
    note = dict(JsonObject.read(folder / NOTE_FILE).values)
    note["temperature"], note["thresholds"] = report.temperature, report.thresholds.tolist()
    note["calibration"] = {
        "data": data,
        "rows": report.rows,
        "error_before": report.error_before,
        "error_after": report.error_after,
        "macro_f1_before": report.f1_before,
        "macro_f1_after": report.f1_after,
    }
    write_json(folder / NOTE_FILE, note)


def _log_odds(thresholds: Float[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
    with np.errstate(divide="ignore"):
        return logit(thresholds)


def _folds(rows: int) -> Iterator[tuple[Int[np.ndarray, " R"], Int[np.ndarray, " F"]]]:
    """The other four fifths of the rows, and the fifth."""
    order = np.random.Generator(np.random.PCG64(0)).permutation(rows)
    for fold in np.array_split(order, _FOLDS):
        yield np.setdiff1d(order, fold), fold


def _resamples(rows: int) -> Float[np.ndarray, "R N"]:
    """Count of each row in each bootstrap sample."""
    rng = np.random.Generator(np.random.PCG64(0))
    return rng.multinomial(rows, np.full(rows, 1 / rows), _RESAMPLES).astype(np.float64)


def _change(
    measure: Callable[[Float[np.ndarray, "R N"]], tuple[np.ndarray, np.ndarray]], rows: int
) -> Change:
    """The change of a measure, which gives before and after for rows that count so often each."""
    before, after = (float(each[0]) for each in measure(np.ones((1, rows))))
    samples = measure(_resamples(rows))
    low, high = np.percentile(samples[1] - samples[0], [2.5, 97.5])
    return Change(before, after, float(low), float(high))


def _error_change(
    logits: Float[np.ndarray, "N C"], targets: Targets, classifier: Classifier
) -> Change:
    """Change of the calibration error by a temperature."""
    after = np.zeros(logits.shape)
    for rest, fold in _folds(len(logits)):
        fitted = fit_temperature(logits[rest], targets[rest])
        temperature = classifier.temperature if fitted in TEMPERATURES else fitted
        after[fold] = classifier.probabilities(logits[fold], temperature)
    excess = [_excess(each, targets) for each in (classifier.probabilities(logits), after)]
    entries = targets.shape[1] if targets.ndim == 2 else 1

    def errors(counts: Float[np.ndarray, "R N"]) -> tuple[np.ndarray, np.ndarray]:
        first, second = (np.abs(counts @ each).sum(1) for each in excess)
        total = entries * counts.sum(1)
        return first / total, second / total

    return _change(errors, len(logits))


def _excess(
    probabilities: Float[np.ndarray, "N C"], targets: Targets
) -> Float[np.ndarray, "N bins"]:
    """Confidence minus correctness of each row in each bin; absolute sums over rows make the calibration error.

    Of the highest probability of each row; where rows have several labels, of the probability of each label.
    """
    if targets.ndim == 2:
        shares, right = probabilities, targets
    else:
        shares = probabilities.max(1, keepdims=True)
        right = (probabilities.argmax(1) == targets)[:, None]
    bins = bin_of(shares)
    excess = np.zeros((len(shares), BINS))
    for column in range(shares.shape[1]):
        values = shares[:, column].astype(np.float64) - right[:, column]
        excess[np.arange(len(shares)), bins[:, column]] += values
    return excess


def _f1_change(
    probabilities: Float[np.ndarray, "N C"],
    targets: Bool[np.ndarray, "N C"],
    thresholds: Float[np.ndarray, " C"],
) -> Change:
    """Change of macro-F1 by new thresholds in place of the present ones."""
    after = np.zeros(probabilities.shape, dtype=bool)
    for rest, fold in _folds(len(probabilities)):
        after[fold] = probabilities[fold] >= fit_thresholds(probabilities[rest], targets[rest])
    before = probabilities >= thresholds

    def scores(counts: Float[np.ndarray, "R N"]) -> tuple[np.ndarray, np.ndarray]:
        f1 = (class_f1(targets, predicted, counts) for predicted in (before, after))
        return next(f1).mean(1), next(f1).mean(1)

    return _change(scores, len(probabilities))
