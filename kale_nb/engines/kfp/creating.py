"""Makes a claim from inside a step, for backends older than 2.17, whose CreatePVC ignores `data_source` and would make an empty volume.

`SCRIPT` runs in any image with Python: it asks the Kubernetes API through the pod's own service account, which must be allowed to create
persistent volume claims.
"""

from __future__ import annotations

SCRIPT = r"""
import json, os, ssl, sys, urllib.error, urllib.request, uuid
task = json.loads(sys.argv[1])
given = task['inputs']['parameterValues']
account = '/var/run/secrets/kubernetes.io/serviceaccount/'
space = open(account + 'namespace').read().strip()
name = str(uuid.uuid4()) + given.get('pvc_name_suffix', '')
spec = {'accessModes': given['access_modes'], 'resources': {'requests': {'storage': given['size']}}}
spec['storageClassName'] = given.get('storage_class_name', '')
for key, field in (('volume_name', 'volumeName'), ('data_source', 'dataSource')):
    if given.get(key):
        spec[field] = given[key]
claim = {'apiVersion': 'v1', 'kind': 'PersistentVolumeClaim', 'spec': spec,
         'metadata': {'name': name, 'annotations': given.get('annotations') or {}, 'labels': {'app.kubernetes.io/managed-by': 'kale-nb'}}}
host = os.environ['KUBERNETES_SERVICE_HOST']
url = 'https://%s:%s/api/v1/namespaces/%s/persistentvolumeclaims' % (
    '[%s]' % host if ':' in host else host, os.environ['KUBERNETES_SERVICE_PORT'], space)
head = {'Authorization': 'Bearer ' + open(account + 'token').read().strip(), 'Content-Type': 'application/json'}
try:
    trust = ssl.create_default_context(cafile=account + 'ca.crt')
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(claim).encode(), head), context=trust).read()
except urllib.error.HTTPError as error:
    said = json.loads(error.read() or b'{}').get('message', error.reason)
    sys.exit('kale: the claim could not be made in namespace %s: %s' % (space, said))
path = task['outputs']['parameters']['name']['outputFile']
os.makedirs(os.path.dirname(path), exist_ok=True)
open(path, 'w').write(name)
print('made claim', name)
""".lstrip()
