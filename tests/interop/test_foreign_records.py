"""Records of A1111, Forge, ComfyUI, InvokeAI and SwarmUI in pictures, and what of them can be drawn here."""

import io
import json
import random
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from sfumato.errors import FormatError, SfumatoError
from sfumato.interop.records import ForeignRecord, read_foreign, translated

A1111 = (
    'a castle on a hill, "old, grey",\nat dawn <lora:castles:0.8>\n'
    "Negative prompt: blurry, Seed: 3,\nugly\n"
    "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 12345, Size: 512x768,"
    " Model hash: abc123def0, Model: dreamshaper_8, Denoising strength: 0.4, Clip skip: 2, Hires upscale: 2,"
    ' ControlNet 0: "Module: canny, Weight: 1", Lora hashes: "castles: deadbeef", Version: v1.10.1'
)
NODES: dict[str, Any] = {
    "3": [
        "KSampler",
        {"seed": 156680208700286, "steps": 20, "cfg": 8, "sampler_name": "dpmpp_2m", "scheduler": "karras"},
    ],
    "4": ["CheckpointLoaderSimple", {"ckpt_name": "SD1.5/v1-5-pruned-emaonly.safetensors"}],
    "5": ["EmptyLatentImage", {"width": 512, "height": 640, "batch_size": 1}],
    "6": ["CLIPTextEncode", {"text": "purple galaxy, bottle", "clip": ["4", 1]}],
    "7": ["CLIPTextEncode", {"text": "text, watermark", "clip": ["4", 1]}],
    "8": ["VAEDecode", {"samples": ["3", 0], "vae": ["4", 2]}],
    "9": ["SaveImage", {"filename_prefix": "ComfyUI", "images": ["8", 0]}],
}
NODES["3"][1] |= {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], "denoise": 1}
INVOKEAI = {
    "app_version": "5.6.0",
    "generation_mode": "txt2img",
    **{
        "positive_prompt": "a cat",
        "negative_prompt": "dog",
        "width": 512,
        "height": 640,
        "seed": 77,
        "rand_device": "cpu",
    },
    **{"cfg_scale": 7.5, "steps": 30, "scheduler": "dpmpp_2m_k", "clip_skip": 0},
    "model": {"key": "8d", "hash": "blake3:1f", "name": "Dreamshaper 8", "base": "sd-1", "type": "main"},
    "loras": [{"model": {"name": "moody"}, "weight": 0.7}],
}
SWARMUI = {
    "sui_image_params": {
        **{
            "prompt": "a photo of a cat",
            "negativeprompt": "dog",
            "model": "Official/sd_xl_base_1.0",
            "seed": 1,
            "steps": 20,
        },
        **{"cfgscale": 7.0, "width": 1024, "height": 768, "sampler": "euler_ancestral", "scheduler": "normal"},
        **{"loras": ["detail"], "swarm_version": "0.9.3.1"},
    },
    "sui_extra_data": {"date": "2025-01-25", "generation_time": "4.84 sec"},
}


def graph(changes: dict[str, Any] | None = None) -> str:
    nodes = {**NODES, **(changes or {})}
    return json.dumps({key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()})


def png(tmp_path: Path, **texts: Any) -> Path:
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name, text if isinstance(text, str) else json.dumps(text))
    Image.new("L", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    return tmp_path / "a.png"


def read(tmp_path: Path, **texts: Any) -> ForeignRecord:
    found = read_foreign(png(tmp_path, **texts))
    assert found is not None
    return found


# A1111 ----------------------------------------------------------------------------------------------------------------


def exif(text: str, order: str = ">") -> bytes:
    """A block with the comment that piexif writes for A1111 (">"), or in the other byte order."""
    mark, utf = (b"MM\0\x2a", "utf-16-be") if order == ">" else (b"II\x2a\0", "utf-16-le")
    data = b"UNICODE\0" + text.encode(utf)
    entries = struct.pack(f"{order}HHHIII", 1, 0x8769, 4, 1, 26, 0) + struct.pack(
        f"{order}HHHIII", 1, 0x9286, 7, len(data), 44, 0
    )
    return b"Exif\0\0" + mark + struct.pack(f"{order}I", 8) + entries + data


def check_a1111(found: ForeignRecord | None) -> None:
    assert found is not None and found.tool == "A1111"
    assert found.prompt == 'a castle on a hill, "old, grey",\nat dawn <lora:castles:0.8>'
    assert found.negative == "blurry, Seed: 3,\nugly"
    assert (found.seed, found.steps, found.guidance, found.size) == (12345, 20, 7.0, (512, 768))
    assert (found.sampler, found.spacing, found.model) == ("DPM++ 2M", "Karras", "dreamshaper_8")
    assert found.further["ControlNet 0"] == "Module: canny, Weight: 1" and found.further["Version"] == "v1.10.1"


def test_parameters_of_a1111_are_read_whole_and_what_cannot_be_repeated_is_named(tmp_path: Path) -> None:
    found = read(tmp_path, parameters=A1111)
    check_a1111(found)
    options, lost = translated(found)
    assert options == {
        **{"prompt": 'a castle on a hill, "old, grey",\nat dawn', "negative": "blurry, Seed: 3,\nugly", "seed": 12345},
        **{"steps": 20, "sampler": "dpm++", "spacing": "karras", "guidance": "7", "size": [512, 768]},
        "model": "dreamshaper_8.safetensors",
    }
    assert "the model: the picture names dreamshaper_8, of the hash abc123def0, and you have to have the file" in lost
    assert "the noise: a seed gives another in A1111, so these are its settings and not its picture" in lost
    assert {"ControlNet", "clip skip 2", "LoRA castles"} < {*lost} and "LoRA" not in lost
    assert "the second pass at a higher resolution (hires fix)" in lost and "img2img" not in str(lost)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_parameters_are_read_from_exif_in_either_byte_order(format: str, order: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{format.lower()}"
    Image.new("RGB", (4, 4)).save(path, format, exif=exif(A1111, order))
    check_a1111(read_foreign(path))


@pytest.mark.parametrize(
    ("version", "tool"),
    [("v1.9.4", "A1111"), ("f2.0.1v1.10.1", "Forge"), ("ComfyUI", "ComfyUI"), ("Sfumato 0.1", "Sfumato")],
)
def test_the_version_says_whose_parameters_they_are(version: str, tool: str, tmp_path: Path) -> None:
    found = read(tmp_path, parameters=f"a\nSteps: 2, Seed: 3, CFG scale: 1, Version: {version}")
    assert found.tool == tool and any("the noise" in one for one in translated(found)[1]) == (tool != "Sfumato")


@pytest.mark.parametrize(
    ("more", "lost"),
    [
        ("Denoising strength: 0.4", "(img2img, denoising strength 0.4)"),
        ("Variation seed: 3", "second seed"),
        ("Refiner: xl_refiner [1234]", "the refiner"),
        ("Sampler: DPM adaptive", "there is no sampler 'DPM adaptive' here: the nearest is"),
        ("Sampler: Zigzag", "Zigzag"),
        ("Schedule type: Automatic", "there is no spacing 'Automatic' here"),
        (f"Seed: {2**63}", "its seed: the largest here is"),
    ],
)
def test_what_a_setting_asks_for_beyond_is_named(more: str, lost: str, tmp_path: Path) -> None:
    found = read(tmp_path, parameters=f"(red:1.2) cat\nSteps: 2, Seed: 3, CFG scale: 5, Sampler: Euler a, {more}")
    options, reasons = translated(found)
    assert any(lost in one for one in reasons), reasons
    assert any("weights within a prompt, such as (red:1.2)" in one for one in reasons)
    assert set(options) <= {"prompt", "seed", "steps", "guidance", "sampler"}


def test_a_negative_prompt_is_left_out_where_guidance_is_off(tmp_path: Path) -> None:
    text = "a\nNegative prompt: b\nSteps: 2, Seed: 3, CFG scale: 1, Size: 8x8"
    assert "negative" not in translated(read(tmp_path, parameters=text))[0]


@pytest.mark.parametrize(
    "text", ["", "a nice photo", "Steps: 3", "a: b, c", "x\n" * 10_000, "a" * 10**6, 'a:"' * 10**5]
)
def test_other_comments_are_no_record(text: str, tmp_path: Path) -> None:
    assert read_foreign(png(tmp_path, parameters=text)) is None


# ComfyUI --------------------------------------------------------------------------------------------------------------


def check_comfyui(found: ForeignRecord | None) -> None:
    assert found is not None and found.tool == "ComfyUI"
    assert (found.prompt, found.negative) == ("purple galaxy, bottle", "text, watermark")
    assert (found.seed, found.steps, found.guidance, found.size) == (156680208700286, 20, 8.0, (512, 640))
    assert (found.sampler, found.spacing) == ("dpmpp_2m", "karras")
    assert found.model == "SD1.5/v1-5-pruned-emaonly.safetensors"


def test_the_sampler_of_a_graph_is_found_with_what_it_was_given(tmp_path: Path) -> None:
    found = read(tmp_path, prompt=graph(), workflow={"nodes": []})
    check_comfyui(found)
    assert found.beyond == ()
    options, lost = translated(found)
    assert options["model"] == "v1-5-pruned-emaonly.safetensors" and options["sampler"] == "dpm++" and len(lost) == 2


def test_graphs_in_the_fields_of_cameras_are_read_too(tmp_path: Path) -> None:
    block = Image.Exif()
    block[0x0110], block[0x010F] = f"prompt:{graph()}", 'workflow:{"nodes": []}'
    Image.new("RGB", (4, 4)).save(tmp_path / "a.webp", exif=block)
    check_comfyui(read_foreign(tmp_path / "a.webp"))


EDITOR_WIDGETS = {
    "3": [156680208700286, "randomize", 20, 8, "dpmpp_2m", "karras", 1],
    "4": ["SD1.5/v1-5-pruned-emaonly.safetensors"],
    "5": [512, 640, 1],
    "6": ["purple galaxy, bottle"],
    "7": ["text, watermark"],
}


def test_the_editors_own_form_of_a_graph_is_read_where_there_is_no_other(tmp_path: Path) -> None:
    links, nodes = [], []
    for key, (kind, inputs) in NODES.items():
        named = [(name, value) for name, value in inputs.items() if isinstance(value, list)]
        own = [{"name": name, "link": len(links) + i} for i, (name, _) in enumerate(named)]
        links += [[len(links) + i, int(value[0]), value[1], int(key), i, "X"] for i, (_, value) in enumerate(named)]
        nodes.append({"id": int(key), "type": kind, "inputs": own, "widgets_values": EDITOR_WIDGETS.get(key, [])})
    check_comfyui(read(tmp_path, workflow={"nodes": nodes, "links": links, "version": 0.4}))


def changed(**inputs: Any) -> dict[str, Any]:
    return {"3": ["KSampler", NODES["3"][1] | inputs]}


def test_values_and_texts_that_other_nodes_give_are_followed(tmp_path: Path) -> None:
    changes = {
        **changed(seed=["20", 0], steps=["21", 0]),
        "20": ["Seed Generator", {"seed": 5}],
        "21": ["PrimitiveInt", {"value": ["22", 0]}],
        "22": ["Some Number", {"the_one": 12}],
        "6": ["CLIPTextEncode", {"text": ["23", 0], "clip": ["4", 1]}],
        "23": ["PrimitiveString", {"value": "a lake"}],
    }
    found = read(tmp_path, prompt=graph(changes))
    assert (found.seed, found.steps, found.prompt) == (5, 12, "a lake")
    assert found.beyond == ("nodes that are not known here: Some Number",)


def test_networks_on_the_way_are_passed_through_and_named(tmp_path: Path) -> None:
    changes = {
        **changed(model=["10", 0], positive=["11", 0], negative=["11", 1]),
        "10": ["LoraLoader", {"lora_name": "detail.safetensors", "model": ["4", 0], "clip": ["4", 1]}],
        "11": [
            "ControlNetApplyAdvanced",
            {"positive": ["6", 0], "negative": ["7", 0], "strength": 1, "image": ["12", 0]},
        ],
        "12": ["LoadImage", {"image": "pose.png"}],
        "13": ["CLIPSetLastLayer", {"stop_at_clip_layer": -2, "clip": ["4", 1]}],
        "6": ["CLIPTextEncode", {"text": "purple galaxy, bottle", "clip": ["13", 0]}],
    }
    found = read(tmp_path, prompt=graph(changes))
    check_comfyui(found)
    assert {*found.beyond} == {"LoRA detail.safetensors", "ControlNet", "a picture that it was given", "clip skip -2"}


def test_of_several_passes_the_first_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    changes = {
        "14": ["LatentUpscaleBy", {"samples": ["3", 0], "scale_by": 1.5}],
        "15": ["KSampler", NODES["3"][1] | {"seed": 9, "denoise": 0.5, "latent_image": ["14", 0]}],
        "8": ["VAEDecode", {"samples": ["15", 0], "vae": ["4", 2]}],
    }
    found = read(tmp_path, prompt=graph(changes))
    check_comfyui(found)
    assert found.beyond[0] == "the passes after the first: 2 samplers follow one another"


def test_a_sampler_in_parts_is_put_together(tmp_path: Path) -> None:
    parts = {name: [str(30 + i), 0] for i, name in enumerate(("noise", "guider", "sampler", "sigmas"))}
    changes = {
        "3": ["SamplerCustomAdvanced", {**parts, "latent_image": ["5", 0]}],
        "30": ["RandomNoise", {"noise_seed": 156680208700286}],
        "31": ["CFGGuider", {"cfg": 8, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0]}],
        "32": ["KSamplerSelect", {"sampler_name": "dpmpp_2m"}],
        "33": ["BasicScheduler", {"scheduler": "karras", "steps": 20, "denoise": 1.0, "model": ["4", 0]}],
    }
    found = read(tmp_path, prompt=graph(changes))
    check_comfyui(found)
    assert found.beyond == ()


def test_what_began_from_a_picture_says_so(tmp_path: Path) -> None:
    changes = {
        **changed(denoise=0.6, latent_image=["16", 0]),
        "16": ["VAEEncode", {"pixels": ["12", 0], "vae": ["4", 2]}],
        "12": ["LoadImage", {"image": "cat.png"}],
    }
    found = read(tmp_path, prompt=graph(changes))
    assert found.size is None and "the picture that it began from" in found.beyond
    assert "the beginning from something else than noise (denoise 0.6)" in found.beyond


@pytest.mark.parametrize(
    "changes",
    [
        changed(model=["3", 0], positive=["3", 0], latent_image=["3", 0], seed=["3", 0]),
        {"6": ["CLIPTextEncode", {"text": ["6", 0]}]},
        changed(seed=["none", 0], model=3, positive=None, negative=[], latent_image=["5"]),
        {"3": ["KSampler", {}]},
        {"3": ["Mystery", {}]},
        {str(i): ["Node", {"x": [str(i + 1), 0]}] for i in range(40, 3_000)},
    ],
    ids=["a circle", "a text of itself", "links that lead nowhere", "no inputs", "no sampler", "a long chain"],
)
def test_any_graph_is_read_as_far_as_it_goes(changes: dict[str, Any], tmp_path: Path) -> None:
    found = read(tmp_path, prompt=graph(changes))
    assert found.tool == "ComfyUI" and translated(found)[1]


# InvokeAI and SwarmUI -------------------------------------------------------------------------------------------------


def test_metadata_of_invokeai_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, invokeai_metadata=INVOKEAI, invokeai_graph={"nodes": {}})
    assert (found.tool, found.prompt, found.negative, found.model) == ("InvokeAI", "a cat", "dog", "Dreamshaper 8")
    assert (found.seed, found.steps, found.guidance, found.size) == (77, 30, 7.5, (512, 640))
    options, lost = translated(found)
    assert (options["sampler"], options["spacing"]) == ("dpm++", "karras") and "LoRA moody" in lost
    assert (
        "the picture that it began from (sd_img2img, strength 0.5)"
        in translated(read(tmp_path, invokeai_metadata=INVOKEAI | {"generation_mode": "sd_img2img", "strength": 0.5}))[
            1
        ]
    )


def test_parameters_of_swarmui_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, parameters=SWARMUI)
    assert (found.tool, found.prompt, found.negative) == ("SwarmUI", "a photo of a cat", "dog")
    assert (found.seed, found.steps, found.guidance, found.size) == (1, 20, 7.0, (1024, 768))
    options, lost = translated(found)
    assert (options["sampler"], options["spacing"]) == ("euler-ancestral", "uniform") and "LoRA detail" in lost
    assert options["model"] == "sd_xl_base_1.0.safetensors"
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", exif=exif(json.dumps(SWARMUI)))
    assert read_foreign(tmp_path / "a.jpg") == found


# Hostile records ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts",
    [
        {"prompt": "{"},
        {"prompt": '{"a": ' + "[" * 10_000},
        {"workflow": "{nothing"},
        {"invokeai_metadata": "cat"},
        {"parameters": '{"sui_image_params": '},
        {"prompt": json.dumps({str(i): {"class_type": "x", "inputs": {}} for i in range(10_001)})},
    ],
    ids=lambda texts: f"{next(iter(texts))} {next(iter(texts.values()))[:20]}",
)
def test_a_damaged_record_is_a_typed_error_of_one_line(texts: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        read_foreign(png(tmp_path, **texts))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [None, True, -1, 1e400, [], {}, [["x", 0]], "NaN", "9" * 5000, {"name": []}], ids=str)
def test_values_of_any_kind_are_survived(value: Any, tmp_path: Path) -> None:
    for texts in (
        {"prompt": graph(changed(**dict.fromkeys(NODES["3"][1], value)))},
        {"invokeai_metadata": dict.fromkeys(INVOKEAI, value)},
        {"parameters": {"sui_image_params": dict.fromkeys(SWARMUI["sui_image_params"], value)}},
        {
            "workflow": {
                "nodes": [{"id": value, "type": value, "inputs": value, "widgets_values": value}],
                "links": value,
            }
        },
    ):
        try:
            translated(read(tmp_path, **texts))
        except SfumatoError as error:
            assert "\n" not in str(error)


def test_damaged_exif_says_nothing(tmp_path: Path) -> None:
    block, noise = exif(A1111), random.Random(0)
    for _ in range(60):
        broken = bytearray(block)
        for _ in range(4):
            broken[noise.randrange(6, len(broken))] = noise.randrange(256)
        stream = io.BytesIO()
        Image.new("RGB", (4, 4)).save(stream, "WEBP", exif=bytes(broken[: noise.randrange(10, len(broken))]))
        (tmp_path / "a.webp").write_bytes(stream.getvalue())
        found = read_foreign(tmp_path / "a.webp")
        assert found is None or isinstance(found, ForeignRecord)


def test_hostile_records_are_read_in_time_that_grows_with_their_length(tmp_path: Path) -> None:
    """Blanks, words and colons that a search could begin at anywhere; a graph in which every node leads to every other
    by hundreds of outputs."""
    settings = "Steps: 20, Sampler: Euler a, Seed: 1"
    blanks, words = " " * 60_000, "ab " * 20_000
    tied = {name: ["X", {f"i{i}": [other, i] for i in range(240)}] for name, other in (("a", "b"), ("b", "c"))}
    far = {f"n{i}": ["X", {f"i{k}": [f"n{(i + k) % 100}", k] for k in range(240)}] for i in range(100)}
    begun = time.monotonic()
    read_foreign(png(tmp_path, parameters=f"a\n{f'{blanks}x{chr(10)}' * 15}{settings}\n{f'{words}{chr(10)}' * 15}y"))
    translated(read(tmp_path, parameters=f"<lora:{' ' * 100_000}.<\n<lora:a{'<lora:' + ' ' * 300}.<\n{settings}"))
    read(tmp_path, prompt=graph({**tied, **far, "3": ["KSampler", {"positive": ["a", 0], "negative": ["n0", 0]}]}))
    assert time.monotonic() - begun < 20, "by a search at every place it would be minutes"


def test_a_graph_that_is_absurdly_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="300 inputs"):
        read(tmp_path, prompt=graph({"a": ["X", {f"i{i}": 1 for i in range(300)}]}))
    with pytest.raises(FormatError, match="nodes"):
        read(tmp_path, prompt=graph({f"n{i}": ["X", {}] for i in range(4_001)}))
