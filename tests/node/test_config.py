"""config.toml: defaults, one reading of it, and every problem named."""

import re
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.addresses import join_address, split_address
from node.config import (
    Config,
    DeviceSettings,
    LogSettings,
    MiningSettings,
    NetworkSettings,
    make_config,
    parse_config,
    read_config,
    render_config,
)
from node.errors import ConfigError

_PORTS = st.integers(0, 65535)
_NAMES = st.from_regex(r"[a-z]{1,10}(\.[a-z]{2,5})?", fullmatch=True)
_CONFIGS = st.builds(
    Config,
    network=st.builds(
        NetworkSettings,
        host=st.sampled_from(["127.0.0.1", "::1", "localhost", "node-1.example.org"]),
        port=_PORTS,
        connect=st.lists(st.builds(join_address, _NAMES | st.just("::1"), st.integers(1, 65535))).map(tuple),
    ),
    mining=st.builds(MiningSettings, enabled=st.booleans(), bond=st.integers(0, 2**63 - 1)),
    device=st.builds(
        DeviceSettings,
        data=st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))),
        plans=st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex)).map(tuple),
    ),
    log=st.builds(LogSettings, level=st.sampled_from(["debug", "info", "warning", "error"]), json=st.booleans()),
)


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return [str(problem) for problem in caught.value.problems]


def test_an_empty_file_is_the_defaults():
    """Every setting may be left out."""
    assert parse_config("") == Config()


def test_the_default_doors_are_on_loopback():
    """A node that nobody configured can't be reached from another machine."""
    assert Config().network.host == Config().rpc.host == "127.0.0.1"


@given(_CONFIGS)
def test_what_is_written_is_read_back(config: Config):
    """Rendering and parsing are inverse, whatever a path contains."""
    assert parse_config(render_config(config)) == config


def test_every_setting_is_written_with_its_meaning():
    """Each setting of the rendered file stands under a comment."""
    lines = render_config(Config()).splitlines()
    settings = [number for number, line in enumerate(lines) if re.match(r"\w+ = ", line)]
    assert len(settings) == sum(len(fields(getattr(Config(), section.name))) for section in fields(Config))
    assert all(lines[number - 1].startswith("# ") for number in settings)


def test_all_problems_are_named_at_once():
    """Reading goes on after the first problem; each line has the setting, the value and what is allowed."""
    assert problems_of(
        """
        [network]
        port = 70000
        connect = ["localhost"]
        [rpc]
        enabled = "yes"
        [mining]
        bond = -1
        [log]
        level = "loud"
        """
    ) == [
        "network.port = 70000: must be a whole number, 0 … 65535",
        'network.connect = ["localhost"]: must be a list of "HOST:PORT" or "ACCOUNT@HOST:PORT"',
        'rpc.enabled = "yes": must be true or false',
        "mining.bond = -1: must be a whole number, 0 … 9223372036854775807",
        'log.level = "loud": must be one of "debug", "info", "warning", "error"',
    ]


def test_true_is_no_number():
    """TOML's true is not taken for 1, as Python would."""
    assert problems_of("[network]\nport = true") == ["network.port = true: must be a whole number, 0 … 65535"]


def test_unknown_settings_come_with_the_name_that_was_meant():
    """A misspelt setting or section, and a setting in the wrong section, are each named."""
    assert problems_of("[network]\nprot = 1\n[lgo]\n[mining]\nlevel = 'info'\n[rpc]\nzzz = 1") == [
        "network.prot: there is no such setting; did you mean network.port?",
        "lgo: there is no such section; did you mean log?",
        "mining.level: there is no such setting; did you mean log.level?",
        "rpc.zzz: there is no such setting",
    ]


def test_a_setting_outside_every_section_is_named():
    """A section's name with a value is a problem, not a crash."""
    assert problems_of("network = 5") == ["network = 5: must be a section, [network]"]


def test_what_is_not_toml_is_said_with_its_line():
    """The TOML reader's message, which has line and column, reaches the operator."""
    assert "line 2" in problems_of("[network]\nport =\nhost = 1")[0]


def test_a_file_that_is_missing_or_no_text_is_a_problem_too(tmp_path):
    """The file is named."""
    with pytest.raises(ConfigError, match=r"config\.toml: can't be read: No such file"):
        read_config(tmp_path / "config.toml")
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_config(tmp_path / "config.toml")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["network", "rpc", "device", "log", "x"]), _JSON))
def test_any_document_is_a_configuration_or_a_configuration_error(document):
    """No value, however strange, gives another exception."""
    try:
        read = make_config(document)
    except ConfigError as error:
        named = {problem.field.partition(".")[0] for problem in error.problems}
        assert named <= set(document)
        assert named
    else:
        assert isinstance(read, Config)


@pytest.mark.parametrize(
    ("text", "address"),
    [("a.example:1", ("a.example", 1)), ("[::1]:9470", ("::1", 9470)), ("127.0.0.1:65535", ("127.0.0.1", 65535))],
)
def test_addresses_are_taken_apart_and_put_together(text, address):
    """HOST:PORT, with brackets around an IPv6 host."""
    assert split_address(text) == address
    assert join_address(*address) == text


@pytest.mark.parametrize("text", ["", ":1", "a", "a:", "a:0", "a:65536", "a:-1", "a:١", "::1:5", "1.2.3:5", "a b:1"])
def test_what_is_no_address_is_refused(text):
    """The message shows the text, or says where brackets go."""
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        split_address(text)
