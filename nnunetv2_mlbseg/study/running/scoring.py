"""The scores of a run: predictions of the held-out cases where there are none yet, and ``mlbseg evaluate``."""

from __future__ import annotations

from pathlib import Path

from nnunetv2_mlbseg.study.running.commands import Commands
from nnunetv2_mlbseg.study.running.gpus import one_gpu
from nnunetv2_mlbseg.study.running.locks import locked
from nnunetv2_mlbseg.study.running.training import FOLD, Study, Training
from noise_synthesis.safe_io.files import write_json
from noise_synthesis.safe_io.label_files import find_label_files


def evaluate(study: Study, root: Path, folder: str, network: str | None = None) -> None:
    """Scores on the held-out cases of the final checkpoint, of one of its networks, or of the one after the warm-up.

    The fold's validation has predicted these cases with the final checkpoint already, unless they are test cases.
    """
    training = Training(study, root, folder)
    target = training.target
    test = study["data"][training.run["data"]]["test"]
    images, references = (training.raw / (name + ("Ts" if test else "Tr")) for name in ("images", "labels"))
    logs = target / "logs" / f"evaluate_{network or 'final'}"
    with locked(target, shared=True) as lock, locked(logs) as own:  # the networks of a run may be scored side by side
        run = Commands(logs, training.environment, lock, own)
        names = list(find_label_files(references)) if test else training.held_out()
        write_json(target / "held_out.json", sorted(names))
        predictions = training.fold / "validation"
        if test or network:
            predictions = target / "predictions" / (network or "final")
            with one_gpu(training.device, training.environment) as gpu:
                on_gpu = Commands(logs, training.environment | gpu.variables, lock, own, *gpu.locks)
                predict(on_gpu, training, images, names, predictions, network)
        score(run, predictions, references, target, f"scores_{network}" if network else "scores")


def predict(run: Commands, training: Training, images: Path, names: list[str], out: Path, network: str | None) -> None:
    """``nnUNetv2_predict`` in one process, with the network that ``evaluate`` says."""
    inputs = out.with_name(f"{out.name}_images")
    inputs.mkdir(parents=True, exist_ok=True)
    for path in images.iterdir():
        if {path.name.rpartition("_0")[0], path.stem} & set(names) and not (inputs / path.name).exists():
            (inputs / path.name).symlink_to(path.resolve())
    model = ["-d", int(training.dataset[7:10]), "-c", training.configuration, "-p", training.plans_name, "-f", FOLD]
    how = ["-i", inputs, "-o", out, *model, "-device", training.device, "-npp", 0, "-nps", 0]
    if network in ("student", "teacher"):
        results = training.target / "exported" / network
        stock = results / training.dataset / f"nnUNetTrainer__{training.plans_name}__{training.configuration}"
        run("mlbseg", "export", training.model, stock, "--network", network, "--force")
        run("nnUNetv2_predict", *how, nnUNet_results=str(results))
    else:
        checkpoint = "checkpoint_warmup.pth" if network == "warmup" else "checkpoint_final.pth"
        run("nnUNetv2_predict", *how, "-tr", training.run["trainer"], "-chk", checkpoint)


def score(run: Commands, predictions: Path, references: Path, target: Path, name: str) -> None:
    """``mlbseg evaluate`` into NAME.json and NAME.csv."""
    cases, files = target / "held_out.json", ["--json", target / f"{name}.json", "--csv", target / f"{name}.csv"]
    run("mlbseg", "evaluate", predictions, references, "--cases", cases, *files, "--force")
