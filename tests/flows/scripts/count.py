import json
import sys

print("::" + json.dumps({"outputs": {"count": int(sys.argv[1])}}) + "::")
