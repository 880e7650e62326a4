"""What `%%step?`, `%pipeline?` and `%kale_load?` show."""

from __future__ import annotations

_SAME = """
The cell runs as it always ran; the mark says what the cell is when the notebook runs as a pipeline
(`%pipeline run`, or `kale run NOTEBOOK` in a terminal)."""

MARKS = {
    "step": f"""%%step NAME [--after A,B] [settings]

This cell is part of the step NAME of the pipeline.
{_SAME} Several cells of one name are one
step; cells with no mark belong to the step above.

  --after A,B          runs after steps A and B, and sees what they left; with no --after anywhere in
                       the notebook, steps run in their order
  --retries N          try again when it fails (--retry-interval 5s, --retry-factor 2)
  --timeout 10m        fail when it takes longer
  --env NAME=VALUE     an environment variable for this step
  --secret S:KEY:ENV   an environment variable from a secret
  --cpu 2 --memory 4Gi --limit nvidia.com/gpu=1 --image REF --cache enabled ...
                       kept for the cluster

Examples:

  %%step load
  table = read(path)

  %%step train --after load --retries 2 --timeout 10m
  model = fit(table)

  %%step compare --after train_a,train_b
  print(max(score_a, score_b))
""",
    "imports": f"""%%imports

This cell imports modules; it runs at the start of every step.
{_SAME}

Example:

  %%imports
  import numpy as np
""",
    "functions": f"""%%functions

This cell defines functions and classes; it runs at the start of every step, after the imports.
{_SAME}

Example:

  %%functions
  def clean(table):
      return table.dropna()
""",
    "parameters": f"""%%parameters

This cell assigns the parameters of the pipeline, which `%pipeline run -p NAME=VALUE` sets anew.
{_SAME}

Example:

  %%parameters
  lr = 0.1      # learning rate
  epochs = 10
""",
    "metrics": f"""%%metrics

This cell ends the step above it; each number that it prints becomes a metric of the run.
{_SAME}

Example:

  %%metrics
  print(accuracy)
""",
    "skip": f"""%%skip

This cell is not part of the pipeline: exploration, plots for your eyes only.
{_SAME}

Example:

  %%skip
  table.describe()
""",
}

PIPELINE = """%pipeline                      show the pipeline of this notebook: its steps, parameters and settings
%pipeline check                what is wrong with it, and what would run
%pipeline graph                draw it
%pipeline run [options]        run it here, on a copy of this folder
%pipeline run --kfp [options]  run it on Kubeflow Pipelines, on clones of this server's volumes
%pipeline --name NAME ...      settings of the notebook (does nothing now, counts when it is compiled)

What is compiled is the saved file of this notebook when the front end tells which it is (JupyterLab, Notebook,
VS Code), otherwise the cells that ran in this session; `%pipeline run other.ipynb` names another one.

Options of run:

  -p NAME=VALUE        set a parameter (any number)
  --until STEP         run this step and what it needs (any number)
  -j N                 steps at once
  --fail-fast          stop running steps as soon as one fails
  --workspace DIR      the folder that a run gets a copy of (default: the notebook's)
  --runs-dir DIR       where runs are kept (default: .kale/runs in the workspace)
  --output-dir DIR     also put the executed notebooks here
  --no-snapshot        run in the folder itself instead of a copy of it
  --kfp                on Kubeflow Pipelines: save the notebook first. It takes the options of `kale run --kfp`
                       (--no-wait, --experiment NAME, --cleanup delete, --one-node, ...). Interrupting leaves the
                       run going: `kale show` asks how it goes, `kale stop` stops it

Examples:

  %pipeline --name titanic --experiment survival
  %pipeline run -p lr=0.1 -p epochs=3 --until train
"""

KALE_LOAD = """%kale_load RUN STEP [NAME ...] [options]

Bring variables that a finished step saved into this notebook. RUN is `last`, a run's id, or the beginning or
end of one. With no NAME, all that the step itself made or changed and that later steps may read (a step keeps
nothing else); NAME may hold wildcards and may be any variable that the step kept or passed on.

  --workspace DIR      the folder whose runs are meant (default: the notebook's)
  --runs-dir DIR       where runs are kept

Examples:

  %kale_load last train
  %kale_load last train model score_*
  %kale_load 20261124-021143 load table
"""
