"""Made-up files in the forms of the research sets."""

import gzip

GOWALLA = {
    "train.txt": "0 10 11 12 13 14 15\n1 10 12 16 17\n2 11\n",
    "valid.txt": "0 16\n1 11\n2\n",
    "test.txt": "0 17 18\n1 18 13\n",
}
BEAUTY = {"Beauty.txt": "1 3 1 2 5 4\n2 2 3 1\n"}
GROCERY = {
    "interactions.csv": "user_id\titem_id\ttime\n5\t1\t86400\n6\t2\t86400\n5\t2\t172800\n6\t1\t259200\n",
    "items.csv": "item_id\ti_category\tr_complement\tr_substitute\n"
    "2\t0\t[1]\t[]\n1\t56\t[2, 3]\t[2]\n3\t0\t[]\t[]\n",
}
HEP_TH = {
    "cit-HepTh.txt": "# FromNodeId\tToNodeId\r\n"
    + "".join(f"1001\t{to}\r\n" for to in range(20))
    + "7\t1001\r\n"
}


def write(folder, files, packed=False):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / name).write_bytes(text.encode())
    return folder
