"""A temperature fitted again on other images."""

from seg.errors import ConfigError
from seg.metrics import SelfAssessment
from seg.model_package import CARD_FILE, ModelCard, ModelPackage, write_card


def recalibrate(package: ModelPackage, assessment: SelfAssessment) -> ModelPackage:
    """Write the assessment into ``model.json``, whole or not at all; the package as a whole.

    It is that of the variant that answers, where one was chosen.

    Raises:
        ConfigError: the package cannot be written.
    """
    card = _assessed(package.whole or package.card, package.variant, assessment)
    try:
        write_card(package.path, card)
    except OSError as error:
        path = package.path / CARD_FILE
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    return ModelPackage(package.path, card)


def _assessed(card: ModelCard, variant: str | None, assessment: SelfAssessment) -> ModelCard:
    own = {"quality": assessment}
    if variant is None:
        return card.model_copy(update=own)
    variants = tuple(
        each.model_copy(update=own) if each.name == variant else each for each in card.variants
    )
    is_first = variant == card.variants[0].name
    return card.model_copy(update={"variants": variants, **(own if is_first else {})})


def recalibration_in_words(assessment: SelfAssessment) -> str:
    """The assessment for a terminal."""
    width = max(len("class"), *(len(name) for name in assessment.dice), 0)
    lines = [f"{'class':{width}}  predicted Dice is off by  the mean Dice would be  cases"]
    for name, each in assessment.dice.items():
        errors = (each.expected_error, each.error_of_the_mean)
        told, mean = ("-" if error is None else f"{error:.3f}" for error in errors)
        lines.append(f"{name:{width}}  {told:24}  {mean:22}  {each.cases:5}")
    if not assessment.dice:
        lines = ["too few cases to predict a Dice from"]
    lines.append(_about_temperature(assessment))
    return "\n".join(lines)


def _about_temperature(assessment: SelfAssessment) -> str:
    if assessment.ece is None:
        return "no temperature: too few cases to fit one"
    before, after = assessment.ece
    errors = f"calibration error {before:.4f} without it, {after:.4f} with it"
    if after < before:
        return f"temperature {assessment.temperature:.2f}: {errors}"
    return f"no temperature, since a fitted one does not help: {errors}"
