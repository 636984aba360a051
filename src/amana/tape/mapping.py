"""The mapping file: which file and column of a lender's export holds which field of the book, and how to read it.

A mapping is JSON. `files` names the CSV files of each kind (customers, loans, repayments; several of a kind are read
one after the other), and each file's `fields` gives a typed reader per field:

    {"type": "text", "column": "customerid"}                                  as it stands, trimmed
    {"type": "money", "column": "totaldue", "unit": "naira"}                  exact in kobo, no float
    {"type": "instant", "column": "closeddate", "zone": "Africa/Lagos"}       ISO 8601, or "format" as in strptime
    {"type": "date", "column": "birthdate", "format": "%d/%m/%Y"}
    {"type": "integer", "column": "termdays"}
    {"type": "enum", "column": "status", "values": {"Self-Employed": "self_employed"}}
    {"type": "bank", "column": "bank", "aliases": {"Skye Bank": "Polaris Bank"}}   to the CBN code
    {"type": "phone", "column": "msisdn"}                                     to E.164
    {"type": "constant", "value": "nano"}                                     the same in every row

`"optional": true` beside a column lets a file come without it; beside a path it lets the file be absent.
"""

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from amana.domain.money import MAX_AMOUNT, Currency
from amana.infra.mendable import Mendable

MAPPING_BYTES_MAX = 1 << 20
FILES_MAX = 32


class TapeError(Mendable, ValueError):
    """The tape as a whole can't be read: a mapping that is wrong, a file or column that is missing.

    The message names the file, and the column where there is one. A single bad row never raises: it is reported.
    """


class _Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    column: str
    optional: bool = False


class Text(_Column, frozen=True, tag="text"):
    """The cell as it stands, without blanks around it."""


class Money(_Column, frozen=True, tag="money"):
    """An amount, positive, in `unit`. Thousands may be grouped by commas."""

    unit: Literal["naira", "kobo"]


class InstantAt(_Column, frozen=True, tag="instant"):
    """A time. `zone` is the clock of values that carry no offset; `format` is `iso` or a strptime pattern."""

    zone: Literal["UTC", "Africa/Lagos"]
    format: str = "iso"


class Date(_Column, frozen=True, tag="date"):
    """A calendar date; a time of day after it is ignored."""

    format: str = "iso"


class Integer(_Column, frozen=True, tag="integer"):
    """A whole number."""


class OneOf(_Column, frozen=True, tag="enum"):
    """A word of the export → the word of the book. A word that is not listed is reported, never guessed."""

    values: dict[str, str]


class BankName(_Column, frozen=True, tag="bank"):
    """A bank's name or code → its CBN code; a bank that merged into another becomes that other."""

    aliases: dict[str, str] = {}


class Phone(_Column, frozen=True, tag="phone"):
    """A Nigerian telephone number → E.164."""


class Constant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="constant"):
    """A value that the export does not carry because it is the same for all."""

    value: str | int


Reader: TypeAlias = Text | Money | InstantAt | Date | Integer | OneOf | BankName | Phone | Constant


class FileMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One CSV file: its path below the tape's folder, how it is written, and its fields."""

    path: str
    fields: dict[str, Reader]
    encoding: Literal["utf-8", "windows-1252", "iso-8859-1"] = "utf-8"
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    optional: bool = False


class Files(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The files of each kind, in the order in which they are read."""

    loans: Annotated[list[FileMapping], Meta(min_length=1, max_length=FILES_MAX)]
    customers: Annotated[list[FileMapping], Meta(max_length=FILES_MAX)] = []
    repayments: Annotated[list[FileMapping], Meta(max_length=FILES_MAX)] = []


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole mapping. `name` is also the key from which every id of the book is derived: do not change it later.

    `credit_limits` (kobo, by product) is what a borrower's credit line is opened with; a borrower of several products
    gets the largest. `kyc_tier` is for borrowers of whom the export does not say.
    """

    name: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,39}$")]
    currency: Currency
    credit_limits: dict[str, Annotated[int, Meta(ge=1, le=MAX_AMOUNT)]]
    files: Files
    kyc_tier: Annotated[int, Meta(ge=1, le=3)] = 1
    description: str = ""


class Field(msgspec.Struct, frozen=True):
    """What the book expects of one field: the readers that fit, whether a row without it is refused, and whether a
    blank cell is worth a remark."""

    readers: tuple[type, ...]
    required: bool = False
    remark_blank: bool = False


_WORD = (Text, OneOf, Constant)
_TIME = (InstantAt,)

FIELDS: dict[str, dict[str, Field]] = {
    "customers": {
        "ref": Field((Text,), required=True),
        "kyc_tier": Field((Integer, Constant)),
        "birth_date": Field((Date,), remark_blank=True),
        "employment": Field(_WORD, remark_blank=True),
        "monthly_income": Field((Money,), remark_blank=True),
        "bank_code": Field((BankName,), remark_blank=True),
        "phone": Field((Phone,), remark_blank=True),
    },
    "loans": {
        "ref": Field((Text,), required=True),
        "customer": Field((Text,), required=True),
        "product": Field(_WORD, required=True),
        "principal": Field((Money,), required=True),
        "total_due": Field((Money,), required=True),
        "requested": Field((Money,)),
        "term_days": Field((Integer, Constant), required=True),
        "applied_at": Field(_TIME, required=True),
        "disbursed_at": Field(_TIME, required=True),
        "first_repaid_at": Field(_TIME),
        "closed_at": Field(_TIME),
    },
    "repayments": {
        "ref": Field((Text,), required=True),
        "loan": Field((Text,), required=True),
        "amount": Field((Money,), required=True),
        "paid_at": Field(_TIME, required=True),
        "reversed_at": Field(_TIME),
    },
}
"""The fields of each kind of file. `total_due` is principal and fee together; `requested` is the principal unless said
otherwise."""


def shipped_mappings() -> list[str]:
    """The names of the mappings that come with Amana."""
    folder = resources.files("amana.tape").joinpath("mappings")
    return sorted(item.name.removesuffix(".json") for item in folder.iterdir() if item.name.endswith(".json"))


def detect_mapping(folder: Path) -> str:
    """The name of the shipped mapping whose files `folder` has. Raises `TapeError` when none fits, or several do."""
    if not folder.is_dir():
        raise TapeError(f"{folder} is not a folder")
    fitting = [name for name in shipped_mappings() if _fits(load_mapping(name), folder)]
    if len(fitting) != 1:
        fit = "none of the shipped mappings fits" if not fitting else f"both {' and '.join(fitting)} fit"
        raise TapeError(f"{fit} {folder}: say which with --mapping ({', '.join(shipped_mappings())}, or a .json file)")
    return fitting[0]


def _fits(mapping: Mapping, folder: Path) -> bool:
    files = (*mapping.files.customers, *mapping.files.loans)
    return all((folder / file.path).is_file() for file in files)


def load_mapping(mapping: str | Path) -> Mapping:
    """A shipped mapping by its name, or one from a file (a path that ends in `.json`). Raises `TapeError`."""
    if isinstance(mapping, Path) or mapping.endswith(".json"):
        path = Path(mapping)
        if not path.is_file():
            raise TapeError(f"mapping {path}: there is no such file")
        return parse_mapping(path.read_bytes(), str(path))
    if mapping not in shipped_mappings():
        raise TapeError(f"no mapping is named {mapping!r}: there are {', '.join(shipped_mappings())}, or name a .json")
    shipped = resources.files("amana.tape").joinpath("mappings", f"{mapping}.json")
    return parse_mapping(shipped.read_bytes(), mapping)


def parse_mapping(document: bytes, name: str) -> Mapping:
    """Decodes and checks a mapping. `name` is how a message calls it. Raises `TapeError`."""
    if len(document) > MAPPING_BYTES_MAX:
        raise TapeError(f"mapping {name}: larger than {MAPPING_BYTES_MAX} bytes")
    try:
        mapping = msgspec.json.decode(document, type=Mapping)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TapeError(f"mapping {name}: {error}") from error
    for kind, fields in FIELDS.items():
        for file in getattr(mapping.files, kind):
            _check_fields(name, kind, file, fields)
    return mapping


def _check_fields(name: str, kind: str, file: FileMapping, fields: dict[str, Field]) -> None:
    where = f"mapping {name}, {file.path}"
    if Path(file.path).is_absolute() or ".." in Path(file.path).parts:
        raise TapeError(f"{where}: the path must stay below the tape's folder")
    for field, reader in file.fields.items():
        if field not in fields:
            raise TapeError(f"{where}: {kind} have no field {field!r}; they have {', '.join(fields)}")
        if not isinstance(reader, fields[field].readers):
            raise TapeError(f"{where}: field {field!r} can't be read as {reader.__struct_config__.tag}")
    for field, rule in fields.items():
        if rule.required and field not in file.fields:
            raise TapeError(f"{where}: field {field!r} is not mapped")
        if rule.required and getattr(file.fields[field], "optional", False):
            raise TapeError(f"{where}: field {field!r} can't be optional")
