"""What can be wrong with a pipeline for Kubeflow Pipelines only: codes KN7xx, found when one is compiled for it."""

from __future__ import annotations

from kale_nb.diagnostics import Severity, rule

NO_IMAGE = rule(
    "KN701",
    "no-image",
    Severity.ERROR,
    what="A step is to run in a container and nothing says in which image.",
    why="Kubernetes needs one for every container.",
    example="%%step load\nx = 1",
    mend="Name one: `--image REF`, `%pipeline --image REF`, or the tag `image:REF`. On a notebook server its own image is the right one.",
)
ONE_NODE = rule(
    "KN702",
    "volume-of-one-node",
    Severity.WARNING,
    what="Steps run in parallel and share a volume that only one node can mount (ReadWriteOnce).",
    why="Pods on two nodes: the second waits until the first is gone, or for ever. On a cluster of one node nothing happens.",
    example="%pipeline --image python:3.11\n\n%%step a\nx = 1\n\n%%step b\ny = 2\n\n%%step c --after a,b\nprint(x, y)",
    mend="Take a storage class with ReadWriteMany, or keep the steps on one node: submit with `--one-node`, or "
    "`%pipeline --node-selector kubernetes.io/hostname=NODE`.",
)
ONE_POD = rule(
    "KN703",
    "volume-of-one-pod",
    Severity.ERROR,
    what="Steps run in parallel and share a volume that only one pod can mount (ReadWriteOncePod).",
    why="The second pod never starts.",
    example=(
        '# notebook metadata: {"kubeflow_notebook": {"docker_image": "python:3.11", "volumes": [{"name": "scratch", '
        '"mount_point": "/scratch", "size": "1Gi", "access_mode": "ReadWriteOncePod"}]}}\n\n'
        "%%step a\nx = 1\n\n%%step b\ny = 2\n\n%%step c --after a,b\nprint(x, y)"
    ),
    mend="Use another access mode for the volume, or order the steps.",
)
BAD_NAME = rule(
    "KN704",
    "not-a-cluster-name",
    Severity.ERROR,
    what="A name cannot be one on Kubernetes: too long, with characters that it does not take, or one that Kale uses itself.",
    why="The cluster would refuse the run, or mix it up with something else.",
    example="%pipeline --image python:3.11 --volume name=My_Data,mount=/data,type=pvc\n\n%%step load\nx = 1",
    mend="Rename it: lower-case letters, digits and `-`, at most 63 of them. A claim with dots in its name can be cloned, not mounted "
    "itself.",
)
RESOURCE = rule(
    "KN705",
    "resource-not-offered",
    Severity.ERROR,
    what="A step asks for a resource that Kubeflow Pipelines cannot pass on, or in a way that Kubernetes refuses.",
    why="Passed on are cpu, memory and the limit of one more resource a step (such as nvidia.com/gpu), which is a whole number. "
    "A request above its limit is refused.",
    example="%pipeline --image python:3.11\n\n%%step train --request nvidia.com/gpu=1\nx = 1",
    mend="Write it as a limit, and only one besides cpu and memory.",
)
VOLUME_SIZE = rule(
    "KN706",
    "volume-without-size",
    Severity.ERROR,
    what="A volume that is made for the run has no size, or one that is no quantity.",
    why="A claim has to say how much storage it wants.",
    example="%pipeline --image python:3.11 --volume scratch:/scratch\n\n%%step load\nx = 1",
    mend="Give it as a Kubernetes quantity: `--volume scratch:/scratch:5Gi`.",
)
NO_CACHE = rule(
    "KN707",
    "cache-stays-off",
    Severity.WARNING,
    what="A step asks for caching, and steps that work on volumes are not cached.",
    why="A cached step would not run, and its files and values would be missing in the new clone.",
    example="%pipeline --image python:3.11\n\n%%step load --cache enabled\nx = 1",
    mend="Remove the mark, or compile with --no-snapshot and without volumes.",
)
WRITABLE = rule(
    "KN708",
    "mounted-writable",
    Severity.WARNING,
    what="A volume is to be read only, and Kubeflow Pipelines has no read-only mounts.",
    why="A step that writes to it changes the volume itself.",
    example=(
        '# notebook metadata: {"kubeflow_notebook": {"docker_image": "python:3.11", "volumes": [{"name": "data", '
        '"mount_point": "/data", "type": "pvc", "read_only": true}]}}\n\n%%step load\nx = 1'
    ),
    mend="Take a clone of it (`type: clone`), which may be written to without harm, or see to it that no step writes there.",
)
OUR_NAME = rule(
    "KN709",
    "reserved-parameter",
    Severity.ERROR,
    what="A parameter has a name that begins with `kale_`.",
    why="The parameters by which a submission hands over volumes begin so.",
    example="%pipeline --image python:3.11\n\n%%parameters\nkale_volume_1_size = 3\n\n%%step load\nprint(kale_volume_1_size)",
    mend="Rename the parameter.",
)
ROUNDED = rule(
    "KN710",
    "rounded-up",
    Severity.WARNING,
    what="A time between retries, or its factor, is not a whole number.",
    why="Kubeflow Pipelines hands whole seconds and a whole factor to its workflow engine; the next higher ones are taken.",
    example="%pipeline --image python:3.11\n\n%%step load --retries 3 --retry-factor 1.5\nx = 1",
    mend="Give whole numbers.",
)
TOO_LARGE = rule(
    "KN711",
    "stepbook-too-large",
    Severity.ERROR,
    what="A step's code, or the defaults of the parameters, are too large to be put into the pipeline itself.",
    why="One argument of a process holds 128 KiB; a packed stepbook may have 96 KiB, and so may the values of all parameters.",
    example="%pipeline --image python:3.11\n\n%%step load\nx = 1",
    mend="Compile with a snapshot, or move data that stands in the code into files.",
)
CLASH = rule(
    "KN712",
    "mounts-clash",
    Severity.ERROR,
    what="Two things are mounted at one path, or one object is mounted twice.",
    why="Kubernetes refuses such a pod.",
    example=("%pipeline --image python:3.11 --volume one:/data:1Gi --volume two:/data:1Gi\n\n%%step load\nx = 1"),
    mend="Give each its own path, and mount each object once.",
)
AT_SUBMISSION = rule(
    "KN714",
    "given-at-submission",
    Severity.NOTE,
    what="Something that the pipeline asks for is no part of a compiled file and is given when a run is submitted.",
    why="Kubeflow Pipelines has one service account a run, not one a step, and takes it with the run.",
    example="%pipeline --image python:3.11 --service-account runner\n\n%%step load\nx = 1",
    mend="Submit with kale, which gives it, or give it yourself.",
)
NO_AUTOSNAPSHOT = rule(
    "KN715",
    "no-snapshot-after-steps",
    Severity.NOTE,
    what="The notebook asks for a snapshot after each step, and a run on a cluster takes none.",
    why="What a step left can be looked at only until a later step changes it.",
    example="%pipeline --image python:3.11 --autosnapshot\n\n%%step load\nx = 1",
    mend="Remove `autosnapshot`, or have steps keep what matters in files of their own.",
)
PLACEHOLDER = rule(
    "KN718",
    "placeholder-in-parameter",
    Severity.ERROR,
    what="The default of a parameter holds `{{$`, with which a placeholder of Kubeflow Pipelines begins.",
    why="Kubeflow puts other text in its place wherever it stands, also within values, so that steps would get another value than here.",
    example="%pipeline --image python:3.11\n\n%%parameters\ntemplate = '{{$.name}}'\n\n%%step load\nprint(template)",
    mend="Assign the text in a step or an imports cell, or read it from a file.",
)
LOCAL_ONLY = rule(
    "KN713",
    "local-only-volume",
    Severity.ERROR,
    what="A volume is a folder of this machine and would be new and empty on the cluster.",
    why="The steps would not find what they find here.",
    example=(
        '# notebook metadata: {"kubeflow_notebook": {"docker_image": "python:3.11", "volumes": [{"name": "data", '
        '"mount_point": "/data", "size": "1Gi", "type": "new_pvc", "source": "data"}]}}\n\n%%step load\nx = 1'
    ),
    mend="Name the claim that holds the data: `type: clone` (or `pvc`) and the claim's name; or drop `source`.",
)
EMPTY_WORKSPACE = rule(
    "KN716",
    "empty-workspace",
    Severity.ERROR,
    what="A new volume is to be mounted where the workspace is.",
    why="The workspace holds the stepbooks, and a new volume begins empty: no step would find its code.",
    example="%pipeline --image python:3.11 --volume home:/home/jovyan:5Gi\n\n%%step load\nx = 1",
    mend="Name the claim that is the workspace (`type: clone`), give the new volume another mount point, or compile with `--no-snapshot`.",
)
NOT_TEXT = rule(
    "KN717",
    "half-a-character",
    Severity.ERROR,
    what="A parameter's default, or the description of the pipeline, holds half of a surrogate pair.",
    why="It is no character, and no file can hold it as text.",
    example='%pipeline --image python:3.11\n\n%%parameters\nmark = "\\ud83d"\n\n%%step load\nprint(ascii(mark))',
    mend="Write the whole character, or bytes.",
)
