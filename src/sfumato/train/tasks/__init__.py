"""What a run may train: one file a task.

To add a task, write a file with a recipe model, a `Task` and its `Trainee`, and put the task into `TASKS`.
"""

from sfumato.train.tasks.autoencode import AutoencodeTask
from sfumato.train.tasks.classify import ClassifyTask
from sfumato.train.tasks.denoise import DenoiseTask
from sfumato.train.tasks.protocol import Need, Task, Trainee

__all__ = ["TASKS", "Need", "Task", "Trainee"]

TASKS: dict[str, type[Task]] = {"denoise": DenoiseTask, "classify": ClassifyTask, "autoencode": AutoencodeTask}
"""The tasks, by the name that a recipe gives."""
