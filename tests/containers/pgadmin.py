"""Starts pgAdmin as the entry point of its image does: with an empty folder, a user, a list of servers and a password file.
Then logs in, opens each server of the list by a click, and prints what pgAdmin answers.

Arguments: a folder for pgAdmin's files, the list of servers, the password file.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import sys

folder, servers, passwords = (pathlib.Path(argument) for argument in sys.argv[1:])
email, password = "admin@example.org", "of this test"
settings = folder / "config_distro.py"
settings.write_text(f"SERVER_MODE = True\nDATA_DIR = {str(folder / 'data')!r}\nUPGRADE_CHECK_ENABLED = False\n")
os.environ.update(CONFIG_DISTRO_FILE_PATH=str(settings), PGADMIN_SETUP_EMAIL=email, PGADMIN_SETUP_PASSWORD=password)
[program] = importlib.util.find_spec("pgadmin4").submodule_search_locations
sys.path.insert(0, program)

# the import creates pgAdmin's own database
from pgAdmin4 import app  # noqa: E402
from pgadmin.utils import load_database_servers  # noqa: E402
from pgadmin.utils.validation_utils import validate_email  # noqa: E402

assert validate_email(email)
with app.test_request_context():
    loaded, message = load_database_servers(str(servers), None, email, True)
    assert loaded, message
storage = folder / "data/storage" / email.replace("@", "_")
storage.mkdir(parents=True, exist_ok=True)
shutil.copy(passwords, storage / ".pgpass")
(storage / ".pgpass").chmod(0o600)

app.config["WTF_CSRF_ENABLED"] = False
browser = app.test_client()
login = {"email": email, "password": password, "internal_button": "Login"}
assert browser.post("/authenticate/login", data=login).headers["Location"] == "/browser/"


groups = {server["Group"] for server in json.loads(servers.read_text())["Servers"].values()}
opened = []
for group in json.loads(browser.get("/browser/server_group/nodes/").data)["data"]:
    # the group that pgAdmin itself creates is empty
    if group["label"] not in groups:
        continue
    for server in json.loads(browser.get(f"/browser/server/nodes/{group['_id']}/").data)["result"]:
        answer = browser.post(f"/browser/server/connect/{group['_id']}/{server['_id']}", json={})
        opened.append({"listed": server, "answer": json.loads(answer.data)})
print("opened", json.dumps(opened))
