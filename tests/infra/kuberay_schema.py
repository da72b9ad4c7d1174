"""What KubeRay's kinds hold: the fields of its API ray.io/v1 (KubeRay 1.7) that matter here.

The published schemas repeat all of Kubernetes' pods and are megabytes long, so names and types of
KubeRay's own fields stand here, and pods are checked against Kubernetes' schemas.
"""

COUNT = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}
FLAG = {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
ANYTHING = {"type": "object"}


def fields(required, **known):
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": known,
        "required": required,
        "additionalProperties": False,
    }


CREDENTIAL = fields([], value=TEXT, valueFrom=ANYTHING)
HEAD = fields(
    ["template"],
    template=ANYTHING,
    headService=ANYTHING,
    enableIngress=FLAG,
    rayStartParams=TEXTS,
    resources=TEXTS,
    labels=TEXTS,
    serviceType=TEXT,
)
WORKERS = fields(
    ["groupName", "template", "minReplicas", "maxReplicas"],
    groupName=TEXT,
    template=ANYTHING,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    idleTimeoutSeconds=COUNT,
    numOfHosts=COUNT,
    suspend=FLAG,
    rayStartParams=TEXTS,
    resources=TEXTS,
    labels=TEXTS,
    scaleStrategy=ANYTHING,
)
CLUSTER_SPEC = fields(
    ["headGroupSpec"],
    rayVersion=TEXT,
    suspend=FLAG,
    managedBy=TEXT,
    upgradeStrategy=ANYTHING,
    authOptions=fields(
        [], mode={"enum": ["disabled", "token"]}, secretName=TEXT, enableK8sTokenAuth=FLAG
    ),
    enableInTreeAutoscaling=FLAG,
    autoscalerOptions=fields(
        [],
        version={"enum": ["v1", "v2"]},
        image=TEXT,
        imagePullPolicy=TEXT,
        resources=ANYTHING,
        securityContext=ANYTHING,
        idleTimeoutSeconds=COUNT,
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        env={"type": "array"},
        envFrom={"type": "array"},
        volumeMounts={"type": "array"},
    ),
    gcsFaultToleranceOptions=fields(
        ["redisAddress"],
        redisAddress=TEXT,
        redisUsername=CREDENTIAL,
        redisPassword=CREDENTIAL,
        externalStorageNamespace=TEXT,
    ),
    headServiceAnnotations=TEXTS,
    headGroupSpec=HEAD,
    workerGroupSpecs={"type": "array", "items": WORKERS},
)
JOB_SPEC = fields(
    ["entrypoint", "rayClusterSpec"],
    entrypoint=TEXT,
    rayClusterSpec=CLUSTER_SPEC,
    activeDeadlineSeconds=COUNT,
    backoffLimit=COUNT,
    submitterPodTemplate=ANYTHING,
    submitterConfig=fields([], backoffLimit=COUNT),
    metadata=TEXTS,
    managedBy=TEXT,
    deletionStrategy=ANYTHING,
    runtimeEnvYAML=TEXT,
    jobId=TEXT,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    entrypointResources=TEXT,
    entrypointNumCpus={"type": "number"},
    entrypointNumGpus={"type": "number"},
    ttlSecondsAfterFinished=COUNT,
    shutdownAfterJobFinishes=FLAG,
    suspend=FLAG,
)
SERVICE_SPEC = fields(
    ["serveConfigV2", "rayClusterConfig"],
    serveConfigV2=TEXT,
    rayClusterConfig=CLUSTER_SPEC,
    rayClusterDeletionDelaySeconds=COUNT,
    upgradeStrategy=ANYTHING,
    serveService=ANYTHING,
    excludeHeadPodFromServeSvc=FLAG,
    suspend=FLAG,
)
SPECS = {"RayCluster": CLUSTER_SPEC, "RayJob": JOB_SPEC, "RayService": SERVICE_SPEC}
