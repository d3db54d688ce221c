"""Prints a SAM template as SAM translates it in the cloud, otherwise untouched: translate.py TEMPLATE [NAME=VALUE ...],
parameters by name.

The one thing that must change first is where the code lies: `sam package` puts an S3 address there, and the
translator insists on it.
"""

import json
import sys

from cfnlint.decode import cfn_yaml
from samtranslator.translator.transform import transform


class NoManagedPolicies:
    """The names of AWS's managed policies, which the translator would ask the account for; we use none."""

    def load(self):
        return {}


def plain(value):
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


template = plain(cfn_yaml.load(sys.argv[1]))
template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
parameters = dict(argument.split("=", 1) for argument in sys.argv[2:])
json.dump(transform(template, parameters, NoManagedPolicies()), sys.stdout, indent=1)
