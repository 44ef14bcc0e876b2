"""The conditions of the prompts of one drawing."""

from collections import defaultdict
from collections.abc import Sequence

from sfumato.condition import Conditioner, Prompt
from sfumato.core.condition import Condition
from sfumato.errors import NonFiniteError, quoted


class EncodedPrompts:
    """Conditions for the `prompts` of n samples, one each, in the order in which they are drawn, `batch` at once.

    A prompt is encoded once, together with the others that the first batch to have it is the first to have, and
    forgotten after the last. So a batch of one sample depends on no other prompt, not even by rounding, no batch
    depends on which others are drawn, and the memory is that of the prompts in use. Every prompt is checked at once: an
    `InputError` for one that cannot be read.
    """

    def __init__(self, conditioner: Conditioner, prompts: Sequence[Prompt], batch: int) -> None:
        self._conditioner, self._prompts = conditioner, prompts
        self._last = {prompt: place for place, prompt in enumerate(prompts)}
        self._first: dict[Prompt, int] = {}
        self._together: defaultdict[int, list[Prompt]] = defaultdict(list)
        for place, prompt in enumerate(prompts):
            if prompt not in self._first:
                self._first[prompt] = place // batch
                self._together[place // batch].append(prompt)
        self._rows: dict[Prompt, Condition] = {}
        for prompt in self._last:
            conditioner.check_prompt(prompt)

    def prepare(self, rows: slice) -> None:
        """Encode what is new among the prompts of these samples, a batch or a part of one."""
        for batch in dict.fromkeys(self._first[one] for one in self._prompts[rows] if one not in self._rows):
            new = self._together[batch]
            encoded = check_finite(self._conditioner(new), new)
            self._rows |= {prompt: encoded.map(lambda x, i=i: x[i : i + 1]) for i, prompt in enumerate(new)}

    def condition(self, rows: slice) -> Condition:
        """The condition of these samples, [b, …]."""
        self.prepare(rows)
        condition = Condition.cat([self._rows[prompt] for prompt in self._prompts[rows]])
        self._rows = {prompt: row for prompt, row in self._rows.items() if self._last[prompt] >= rows.stop}
        return condition


def check_finite(condition: Condition, prompts: Sequence[Prompt]) -> Condition:
    """The condition of the prompts; a `NonFiniteError` where a number in it is not finite."""
    for name, value in condition.given().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise NonFiniteError(
                f"the conditioner gave {name} that are not finite for {quoted(list(prompts))}: its weights are damaged,"
                " or want float32"
            )
    return condition
