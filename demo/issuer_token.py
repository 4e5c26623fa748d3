"""What an agent's own identity is here: a client of an issuer, which gets tokens by a secret.

Google's client runs this program, as the agent's credential file says, whenever it needs a token.
The file that is named has the issuer's token endpoint, and the client's id, secret and audience.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

client = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
form = {"grant_type": "client_credentials", "resource": client["audience"], "scope": "bigquery"}
secret = base64.b64encode(f"{client['id']}:{client['secret']}".encode()).decode()
asked = Request(
    client["token_endpoint"], urlencode(form).encode(), {"Authorization": f"Basic {secret}"}
)
with urlopen(asked, timeout=20) as reply:
    token = json.load(reply)["access_token"]
kind = os.environ["GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE"]
print(json.dumps({"version": 1, "success": True, "token_type": kind, "id_token": token}))
