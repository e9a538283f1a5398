"""What the modules and the inventory for Compute Engine have in common."""


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  project:
    description: The project's id, not its number. The environment variable E(GCP_PROJECT) is used if it isn't given.
    type: str
    env:
      - name: GCP_PROJECT
  access_token:
    description:
      - An OAuth 2 access token, such as C(gcloud auth print-access-token) prints. It lives for an hour.
      - The environment variable E(GCP_ACCESS_TOKEN) is used if it isn't given.
    type: str
    env:
      - name: GCP_ACCESS_TOKEN
  service_account_file:
    description:
      - The JSON key of a service account, used where no O(access_token) is given. Without either, the application
        default credentials count (C(gcloud auth application-default login)).
      - The environment variable E(GCP_SERVICE_ACCOUNT_FILE) is used if it isn't given.
    type: path
    env:
      - name: GCP_SERVICE_ACCOUNT_FILE
  timeout:
    description: Seconds to wait for one operation at Google, and at most for a limit of requests to pass.
    type: float
    default: 300
requirements:
  - google-auth[requests]
"""
