"""What kfp itself says of a compiled pipeline: its loader and its protos, for those who have it installed."""

from __future__ import annotations

from kale_nb.errors import EngineError
from kale_nb.quick_imports import without_grammars


def validate(text: str) -> None:
    """Read the YAML with kfp's own loader, and every executor's settings as its proto.

    Raises:
        EngineError: kfp or its Kubernetes part is not installed, or it refuses what was written, which is a defect of ours.
    """
    try:
        with without_grammars():
            import yaml
            from google.protobuf import json_format
            from kfp.components import load_component_from_text
            from kfp.kubernetes import kubernetes_executor_config_pb2 as config
            from kfp.pipeline_spec import pipeline_spec_pb2 as spec
    except ImportError as error:
        raise EngineError(f"kfp is not there to validate with: {error}", hint="pip install 'kale-nb[kfp]'") from error
    try:
        load_component_from_text(text)
        documents = list(yaml.safe_load_all(text))
        read = json_format.ParseDict(documents[0], spec.PipelineSpec())
        for executor in read.deployment_spec["executors"].values():
            json_format.ParseDict(json_format.MessageToDict(executor), spec.PipelineDeploymentConfig.ExecutorSpec())
        for document in documents[1:]:
            json_format.ParseDict(document, spec.PlatformSpec())
            for executor in document["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
                json_format.ParseDict(executor, config.KubernetesExecutorConfig())
    except Exception as error:
        raise EngineError(f"kfp does not take what was compiled: {type(error).__name__}: {error}") from error
