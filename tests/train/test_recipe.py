"""Recipes: read strictly, changed by --set, compared."""

import os
from pathlib import Path
from typing import Any

import pytest

from sfumato.core.parameterization import VPrediction
from sfumato.core.schedule import Linear
from sfumato.errors import InputError, NotFoundError
from sfumato.foreign.training import refuse_foreign
from sfumato.sample import DDIM
from sfumato.train.base_recipe import differences
from sfumato.train.denoise_recipe import DenoiseRecipe
from sfumato.train.ema import Constant, Power
from sfumato.train.recipe import check_recipe, lay_over, load_recipe, recipe_names


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# What ships -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_that_ships_loads(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.about.endswith(".")
    denoiser = "dit-1d" if name in ("sound", "layout") else "unet"
    autoencoder = "pca" if name == "pca" else "kl"
    assert (
        recipe.network["kind"] == {"denoise": denoiser, "classify": "encoder", "autoencode": autoencoder}[recipe.task]
    )
    assert check_recipe(recipe.dump()) == recipe, "what a run records is the recipe"


def test_the_recipes_of_the_documents_ship() -> None:
    assert {"ddpm", "digits"} <= set(recipe_names())


def test_an_empty_recipe_is_all_defaults(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path / "empty.toml", "")) == DenoiseRecipe()
    assert (
        DenoiseRecipe().schedule == Linear()
        and DenoiseRecipe().average == Power()
        and DenoiseRecipe().settings.sampler == DDIM()
    )


def test_a_file_is_a_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path / "mine.toml", 'parameterization = { kind = "v" }\n[train]\nbatch = 7\n'))
    assert recipe.parameterization == VPrediction() and recipe.train.batch == 7
    assert load_recipe(write(tmp_path / "no-ending", "[train]\nbatch = 9\n")).train.batch == 9


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"there is no recipe 'digit'; did you mean 'digits'\? known: .*; or give a"):
        load_recipe("digit")


# Strictness -----------------------------------------------------------------------------------------------------------

WRONG = [
    ("[train]\nbach = 3", r"there is no setting 'train\.bach'; did you mean 'batch'\? known: accumulate, batch"),
    ("[trian]\nbatch = 3", r"there is no setting 'trian'; did you mean 'train'\?"),
    ("[network]\nkind = 'unet'\nwidht = 3", r"there is no setting 'network\.unet\.widht'; did you mean 'width'\?"),
    ("schedule = { kind = 'cosin' }", r"there is no schedule 'cosin'; did you mean 'cosine'\?"),
    ("schedule = { kind = 'linear', t = 5 }", r"there is no setting 'schedule\.linear\.t'"),
    ("schedule = 'linear'", "schedule should be a table with a kind; known kinds: .*cosine"),
    ("average = { kind = 'power', width = 'wide' }", r"'average\.power\.width': input should be a valid number"),
    ("[settings]\nsampler = { kind = 'dim' }", r"there is no sampler 'dim'; did you mean 'ddim'\?"),
    ("[train]\nbatch = true", r"^'train\.batch': input should be a valid integer, not True$"),
    ("[train]\nbatch = 1.5", r"^'train\.batch': input should be a valid integer, .*not 1\.5$"),
    ("[train]\nbatch = 3.0", r"^'train\.batch': input should be a valid integer, not 3\.0$"),
    ("[train]\nbatch = '3'", r"^'train\.batch': input should be a valid integer, not '3'$"),
    ("[train]\nbatch = 0", r"^'train\.batch': input should be greater than or equal to 1, not 0$"),
    ("[train]\nbatch = []", r"^'train\.batch': input should be a valid integer, not \[\]$"),
    ("[train]\nseed = -1", r"^'train\.seed': .*, not -1$"),
    ("[train]\nseed = 9223372036854775808", r"^'train\.seed': input should be less than"),
    ("[train]\nsave_minutes = nan", r"^'train\.save_minutes': .*finite number, not nan$"),
    ("[optimizer]\nlearning_rate = '3'", r"^'optimizer\.learning_rate': input should be a valid number, not '3'$"),
    ("[optimizer]\nlearning_rate = true", r"^'optimizer\.learning_rate': input should be a valid number, not True$"),
    ("[optimizer]\nlearning_rate = nan", r"^'optimizer\.learning_rate': .*not nan$"),
    ("[optimizer]\nlearning_rate = inf", r"^'optimizer\.learning_rate': .*not inf$"),
    ("[optimizer]\nlearning_rate = 0", r"^'optimizer\.learning_rate': input should be greater than 0, not 0$"),
    ("[optimizer]\nbetas = [0.9]", r"^'optimizer\.betas\.1' is missing$"),
    ("[data]\nflip = 1", r"^'data\.flip': input should be a valid boolean, not 1$"),
    ("[data]\nsize = [8]", r"^'data\.size\.1' is missing$"),
    ("[data]\nsize = [8, 0]", r"^'data\.size\.1': .*, not 0$"),
    ("[data]\nchannels = 2", r"^'data\.channels': input should be 1 or 3, not 2$"),
    ("[data]\nfit = 'squash'", r"^'data\.fit': input should be 'crop', 'pad' or 'stretch', not 'squash'$"),
    ("[condition]\ndropout = 1.1", r"^'condition\.dropout': input should be less than 1, not 1\.1$"),
    ("[condition]\ndropout = nan", r"^'condition\.dropout': .*not nan$"),
    ("[network]\nkind = 'unet'\nwidth = nan", r"^'network\.unet\.width': .*not nan$"),
    ("[network]\nkind = 'unet'\nwidth = 0", "width must be from 1 to 8,192, not 0$"),
    ("[network]\nkind = 'unet'\nattention = [9]", "attention names level 9, but the levels are 0 to 3$"),
    (
        "[network]\nwidth = 8",
        "should be a table with a kind; known kinds: unet, dit, unet-1d, dit-1d, .*encoder, with-text, with-layout$",
    ),
    ("about = 5", "^'about': input should be a valid string, not 5$"),
    ("about = 2026-01-01", "holds a value that is no number, text, list or table"),
    ("[train]\nbatch = 8\naccumulate = 3", r"train\.accumulate \(3\) must divide train\.batch \(8\) evenly$"),
    ("[train]\nbatch = 8\naccumulate = 16", r"train\.accumulate \(16\) must divide train\.batch \(8\) evenly$"),
    ("train]", "is not valid TOML"),
    ("a = 1\na = 2", "is not valid TOML"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_recipe_says_where_and_what(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(write(tmp_path / "wrong.toml", text))
    assert "\n" not in str(caught.value)


HOSTILE = {
    "deep lists": "a = " + "[" * 50_000,
    "deep closed lists": "a = " + "[" * 400 + "]" * 400,
    "deep keys": ".".join("a" * 3000) + " = 1",
    "deep keys of the network": "[network]\nkind = 'unet'\n" + ".".join("a" * 3000) + " = 1",
    "not UTF-8": b"a = '\xff'",
    "a long number": "[train]\nbatch = " + "9" * 5000,
    "a null": "a = '\0'",
    "a lone surrogate": 'about = "\\ud800"',
    "many keys": "\n".join(f"k{i} = {i}" for i in range(20_000)),
    "a pickle": b"\x80\x04cos\nsystem\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_recipe_is_refused(name: str, tmp_path: Path) -> None:
    text = HOSTILE[name]
    path = tmp_path / "hostile.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 2000


def test_a_folder_and_a_missing_file_are_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match=r"cannot read the recipe .*folder\.toml: Is a directory$"):
        load_recipe(tmp_path / "folder.toml")
    with pytest.raises(NotFoundError, match=r"cannot read the recipe .*none\.toml: No such file or directory$"):
        load_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize("kind", ["[1]", "{}", "5", "true"])
def test_a_kind_that_is_no_text_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match="network should be a table with a kind; known kinds: "):
        load_recipe("ddpm", [f"network.kind={kind}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#" * (256 * 1024 + 1), "is larger than 256 kB: no recipe$"),
        (".".join(["a"] * 50_000) + " = 1", "holds a table within more than 64 others: no recipe$"),
        ("x = {" + " . ".join(["a"] * 70) + " = 1}", "holds a table within more than 64 others: no recipe$"),
    ],
    ids=["long", "deep", "deep within"],
)
def test_a_file_that_costs_its_reader_too_much_is_refused_before_it_is_parsed(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "bomb.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_recipe(tmp_path / "bomb.toml")


def test_dots_in_a_text_and_in_numbers_are_no_depth(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", f'about = "{"a." * 100}"\n[optimizer]\nbetas = [{"0.1, " * 99} 0.1]\n')
    with pytest.raises(InputError, match="optimizer.betas"):
        load_recipe(path)
    assert load_recipe(write(path, f'about = "{"a." * 100}"')).about == "a." * 100


# --set ----------------------------------------------------------------------------------------------------------------


def test_settings_lie_over_the_recipe() -> None:
    recipe = load_recipe(
        "digits",
        [
            "train.batch=64",
            " optimizer.learning_rate = 1e-4 ",
            "network.multipliers=[1, 2, 3]",
            "data.flip=true",
            "about=mine=yours",
            'data.fit="pad"',
            "condition.kind=nothing",
            "settings.sampler.kind=ddim",
            "settings.sampler.eta=0.5",
            "settings.sampler=" + '{"kind": "ddim", "eta": 0.25}',
            "train.batch=32",
        ],
    )
    assert recipe.train.batch == 32, "the last one counts"
    assert recipe.optimizer.learning_rate == 1e-4 and recipe.network["multipliers"] == [1, 2, 3]
    assert recipe.data.flip and recipe.data.fit == "pad" and recipe.about == "mine=yours"
    assert recipe.condition.kind == "nothing" and recipe.settings.sampler == DDIM(eta=0.25)
    assert recipe.train.seed == load_recipe("digits").train.seed


def test_a_table_that_the_recipe_left_out_can_be_set() -> None:
    assert load_recipe("digits", ["average.kind=constant", "average.rate=0.9"]).average == Constant(0.9)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.batch", "--set wants key=value, as in train.batch=64, not 'train.batch'$"),
        ("=3", "--set wants key=value, as in train.batch=64, not '=3'$"),
        (3, "--set wants key=value, as in train.batch=64, not 3$"),
        ("", "--set wants key=value, as in train.batch=64, not ''$"),
        ("about.x=3", "'about.x' cannot be set: 'about' is a value, not a table$"),
        ("train.batch.x=3", "'train.batch.x' cannot be set: 'batch' is a value, not a table$"),
        ("train.bach=3", r"there is no setting 'train\.bach'; did you mean 'batch'\?"),
        ("train.batch=", r"'train\.batch': input should be a valid integer, not ''$"),
        ("train.batch=many", r"'train\.batch': input should be a valid integer, not 'many'$"),
        ('train.batch="64"', r"'train\.batch': input should be a valid integer, not '64'$"),
        ("train.batch=NaN", r"'train\.batch': .*not nan$"),
        ("train=3", "'train': .*not 3$"),
        ("network.width=1e2", r"'network\.unet\.width': input should be a valid integer, not 100\.0$"),
        (".batch=3", "there is no setting ''"),
        ("settings.sampler=ddim", "sampler should be a table with a kind"),
    ],
)
def test_a_bad_setting_says_what_is_wrong(setting: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_recipe("digits", [setting])
    assert "\n" not in str(caught.value)


def test_one_setting_alone_is_taken_as_a_list_of_it() -> None:
    assert load_recipe("digits", "train.batch=4").train.batch == 4


BEYOND = [
    "network.dropout=2",
    "network.dropout=-0.5",
    "network.context=-3",
    "network.head_width=-4",
    "optimizer.betas=[1.0, 0.9]",
    "optimizer.betas=[0.9, 1.0]",
    'average={"kind": "power", "width": 0.5}',
    'average={"kind": "constant", "rate": -1.0}',
    "network.x=" + "[" * 100_000,
]


@pytest.mark.parametrize("setting", BEYOND, ids=lambda setting: setting[:30])
def test_a_value_that_cannot_work_is_refused_with_the_recipe(setting: str) -> None:
    with pytest.raises(InputError):
        load_recipe("digits", [setting])


# Differences ----------------------------------------------------------------------------------------------------------


def test_differences_are_named_by_their_place() -> None:
    one, other = (
        load_recipe("digits"),
        load_recipe("digits", ["train.batch=32", "network.width=16", "schedule.offset=0.01"]),
    )
    assert differences(one.dump(), one.dump()) == []
    assert differences(one.dump(), other.dump()) == [
        f"network.width: {one.network['width']} → 16",
        f"train.batch: {one.train.batch} → 32",
        "schedule.offset: 0.008 → 0.01",
    ]


@pytest.mark.parametrize(
    ("one", "other", "lines"),
    [
        ({}, {}, []),
        ({"a": 1}, {}, ["a: 1 → None"]),
        ({}, {"a": {"b": 1}}, ["a: None → {'b': 1}"]),
        ({"a": {"b": [1]}}, {"a": {"b": [1, 2]}}, ["a.b: [1] → [1, 2]"]),
        ({"a": {"b": 1}}, {"a": 3}, ["a: {'b': 1} → 3"]),
    ],
)
def test_differences_of_any_tables(one: dict[str, Any], other: dict[str, Any], lines: list[str]) -> None:
    assert differences(one, other) == lines


def test_a_recorded_recipe_takes_settings() -> None:
    assert lay_over(load_recipe("digits").dump(), ["train.batch=4"]) == load_recipe("digits", ["train.batch=4"])


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (['parameterization={"kind":"eps"}', 'schedule={"kind":"flow"}'], "cannot be evaluated at alpha 0"),
        (
            ['schedule={"kind":"zero-terminal","table":{"kind":"linear"}}', 'settings.spacing={"kind":"leading"}'],
            "cannot be evaluated at alpha 0",
        ),
        (['settings.sampler={"kind":"unipc","order":7}'], "the order of unipc must be 1, 2 or 3, not 7"),
        (['settings.sampler={"kind":"ddim","eta":3.0}'], "eta must lie between 0"),
        (['settings.sampler={"kind":"annealed-langevin","rate":9.0}'], "the rate of annealed Langevin"),
        (['settings.sampler={"kind":"ddpm","variance":"learned"}'], "this network gives no variance"),
        (['settings.sampler={"kind":"lms"}', "settings.steps=3"], "needs at least 4 steps"),
        (['loss={"kind":"vlb"}', 'schedule={"kind":"vp"}'], "the bound sums over the steps of a chain"),
        (
            ['loss={"kind":"denoising","weight":{"kind":"min-snr","gamma":-1.0}}'],
            "the gamma of min-snr must be above 0",
        ),
        (['times={"kind":"importance"}', 'schedule={"kind":"vp"}'], "importance times count losses of whole times"),
        (['times={"kind":"log-normal","std":-1.0}'], "the std of a law of times must be above 0"),
    ],
)
def test_parts_that_do_not_go_together_are_refused_before_data_is_read(settings: list[str], match: str) -> None:
    with pytest.raises(InputError, match=match):
        load_recipe("digits", settings)


@pytest.mark.parametrize("sigma_max", [0.7, 1.1, 80.1, 80.3, 123.4, 999.9])
def test_a_recipe_may_end_at_any_noise(sigma_max: float) -> None:
    for spacing in ("karras", "trailing"):
        recipe = load_recipe("edm", [f"schedule.sigma_max={sigma_max}", f'settings.spacing={{"kind":"{spacing}"}}'])
        assert recipe.schedule.last == sigma_max


def test_heun_along_sigma_is_refused_where_the_trajectory_begins_in_pure_noise() -> None:
    with pytest.raises(InputError, match="take heun,along=flow"):
        load_recipe("flow", ['settings.sampler={"kind":"heun"}'])
    assert load_recipe("flow", ['settings.sampler={"kind":"heun","along":"flow"}']).settings.steps == 25


def test_a_classifier_may_be_trained_on_any_schedule() -> None:
    assert load_recipe("classifier", ['schedule={"kind":"flow"}']).task == "classify"


@pytest.mark.parametrize(
    ("name", "setting", "match"),
    [
        (
            "digits",
            "reconstruction.edges=1",
            "^[reconstruction] is read by the task autoencode, and .* task is denoise$",
        ),
        ("digits", "reconstruction=1", "^reconstruction is read by the task autoencode, and .* task is denoise$"),
        ("classifier", "codec.path=x", "^[codec] is read by the tasks autoencode and denoise, and .* is classify$"),
        ("classifier", "train.init_from=x", "^train.init_from is read by the task denoise, and .* task is classify$"),
        ("autoencoder", "train.init_from=x", "^train.init_from is read by the task denoise, and .* is autoencode$"),
        ("autoencoder", "codec.kind=latent", "^codec.kind is read by the task denoise, and .* is autoencode$"),
        (
            "autoencoder",
            "schedule.kind=flow",
            "^[schedule] is read by the tasks classify and denoise, and .* autoencode$",
        ),
        ("classifier", "variance=learned", "^variance is read by the task denoise, and .* task is classify$"),
        ("digits", "task=clasify", "^there is no task 'clasify'; did you mean 'classify'?"),
        ("digits", "task=3", "^there is no task 3"),
        ("digits", "data.medium=imag", "^there is no data.medium 'imag'; did you mean 'image'?"),
    ],
)
def test_a_table_or_key_that_another_task_reads_is_refused(name: str, setting: str, match: str) -> None:
    with pytest.raises(InputError, match=match.replace("[", r"\[").replace("?", r"\?")):
        load_recipe(name, [setting])


def test_an_autoencoder_goes_on_with_one_codec() -> None:
    with pytest.raises(
        InputError, match="an autoencoder goes on with codec.path, .* or begins with codec.init_from, .*: give one"
    ):
        load_recipe("autoencoder", ["codec.path=here", "codec.init_from=there"])


def test_a_rate_that_does_not_fall_stays() -> None:
    own = load_recipe("digits").optimizer
    assert own.decay == 0 and own.warmup
    assert [own.rate(step) for step in (own.warmup, 10 * own.warmup)] == [own.learning_rate] * 2


NASTY: list[Any] = [None, [1], {}, -1.0, 1e-300, 1e300, 2**70, "\0", "\ud83d", "x" * 5000, [[]], 1000000]


@pytest.mark.parametrize(
    "place", ["network.kind", "schedule", "average.width", "codec.path", "condition.dropout", "about"]
)
def test_whatever_a_recipe_holds_is_refused_in_a_line_or_loads(place: str) -> None:
    for value in NASTY:
        data = load_recipe("ddpm").dump()
        *tables, key = place.split(".")
        table = data
        for name in tables:
            table = table[name]
        table[key] = value
        try:
            check_recipe(data)
        except InputError as error:
            assert len(str(error)) < 500 and "\n" not in str(error)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("network.kind=[1]", "network should be a table with a kind"),
        ('schedule={"kind":"scaled-linear","beta_start":-1.0}', "betas must lie between 0 and 1"),
        ('schedule={"kind":"quadratic","beta_start":-1.0}', "betas must lie between 0 and 1"),
        ('average={"kind":"power","width":1e-300}', "the width of a power average must be at least 1e-06, not 1e-300"),
        ("condition.dropout=1.0", "less than 1, not 1.0"),
        ('about="\\ud83d"', "half a character"),
    ],
)
def test_a_value_that_cannot_be_is_named(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("ddpm", [setting])


@pytest.mark.parametrize("odd", [None, 3, [], b"digits"], ids=repr)
def test_what_is_no_recipe_is_refused(odd: Any) -> None:
    with pytest.raises(InputError, match="a recipe is a name, a TOML file, tables or a Recipe, not "):
        load_recipe(odd)


@pytest.mark.parametrize("odd", [None, 3, b"train.batch=3"], ids=repr)
def test_settings_that_are_no_list_are_refused(odd: Any) -> None:
    with pytest.raises(InputError, match="settings must be a list, not "):
        load_recipe("digits", odd)


def test_a_recipe_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf[train]\r\nbatch = 4\r\n")
    assert load_recipe(tmp_path / "a.toml").train.batch == 4


def test_a_pipe_is_no_recipe_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.toml")
    with pytest.raises(InputError, match=r"cannot read the recipe .*x\.toml: a device or pipe, and not a file"):
        load_recipe(tmp_path / "x.toml")


def test_the_rise_follows_the_planned_steps_unless_the_recipe_has_its_own() -> None:
    left_out, own = load_recipe("ddpm"), load_recipe("digits")
    assert [left_out.planned(steps).optimizer.warmup for steps in (1, 75, 10**6)] == [1, 4, 500]
    assert own.planned(75) == own
    assert left_out.planned(75).planned(10**6).optimizer.warmup == 4, "what a run began with stays"


# Words of other trainers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "ours"),
    {
        "lr=1e-4": r"optimizer\.learning_rate",
        "optimizer.lr=1e-4": r"optimizer\.learning_rate",
        "learning_rate=1e-4": r"optimizer\.learning_rate",
        "train.batch_size=8": r"train\.batch",
        "num_epochs=3": "--epochs",
        "network.dim_mults=[1,2]": r"network\.multipliers",
        "data.image_size=64": r"data\.size",
    }.items(),
)
def test_a_key_of_another_trainer_is_answered_with_ours(setting: str, ours: str) -> None:
    with pytest.raises(InputError, match=f"^{setting.partition('=')[0]}: '.*' is what .* has; here it is .*{ours}"):
        load_recipe("ddpm", [setting])


def test_no_key_of_ours_is_called_another_trainers() -> None:
    for name in recipe_names():
        refuse_foreign(load_recipe(name).dump())
