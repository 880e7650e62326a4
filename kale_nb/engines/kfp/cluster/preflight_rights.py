"""Which rights are missing, and whom to ask for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kale_nb.engines.kfp.cluster.api import Right
from kale_nb.engines.kfp.cluster.preflight_facts import Facts
from kale_nb.engines.kfp.cluster.problems import ClusterError
from kale_nb.engines.kfp.cluster.resources import SNAPSHOT_GROUP
from kale_nb.engines.kfp.cluster.rights import NEEDS, Grant, Need, Subject, Who, subject_of
from kale_nb.engines.preflight import Finding, Mark


def needed(*, inside: bool, snapshot: bool, clone_claims: bool = False) -> tuple[Need, ...]:
    """Return the needs of a run.

    Args:
        inside: this runs in a notebook server.
        snapshot: the run works on clones; without, only what the run's own account needs counts.
        clone_claims: claims are cloned without snapshots.
    """
    return tuple(
        need
        for need in NEEDS
        if need.who == "run"
        or (snapshot and (inside or not need.within) and not (clone_claims and need.resource.group == SNAPSHOT_GROUP))
    )


def right_findings(facts: Facts, needs: Iterable[Need], *, deletes: bool = False) -> Iterator[Finding]:
    """Say of each need whether its rights are there. `deletes`: the run deletes its claims at its end."""
    for need in needs:
        if need.who != "run":
            yield _of_submitter(need, facts)
        elif need.required or deletes or all(facts.run_rights.get(right) is not None for right in need.rights):
            yield _of_run(need, facts, deletes=deletes)


def grants(facts: Facts, needs: Iterable[Need]) -> tuple[Grant, ...]:
    """Return exactly the rights that are missing, required or not."""
    needs = tuple(needs)
    ours = _missing(needs, "submitter", facts.rights)
    theirs = _missing(needs, "run", facts.run_rights)
    account = Subject(kind="ServiceAccount", name=facts.run_account, namespace=facts.namespace)
    subject = subject_of(facts.user)
    if theirs and subject == account:
        ours, theirs = tuple(dict.fromkeys((*ours, *theirs))), ()
    found = [Grant(subject=subject, rights=ours, namespace=facts.namespace)] if ours else []
    return (*found, *([Grant(subject=account, rights=theirs, namespace=facts.namespace)] if theirs else []))


def _missing(needs: Iterable[Need], who: Who, answers: Mapping[Right, object]) -> tuple[Right, ...]:
    return tuple(
        dict.fromkeys(right for need in needs if need.who == who for right in need.rights if answers.get(right) is False)
    )


def _part(facts: Facts) -> str:
    return f"Rights{f' of {subject_of(facts.user)}' if facts.user else ''} in namespace {facts.namespace}"


def _of_submitter(need: Need, facts: Facts) -> Finding:
    answers = {right: facts.rights.get(right) for right in need.rights}
    missing = [right.verb for right, answer in answers.items() if answer is False]
    unknown = next((answer for answer in answers.values() if isinstance(answer, ClusterError)), None)
    what = f"{', '.join(missing or need.verbs)} {need.resource.full_name}{'' if need.resource.namespaced else ', in the whole cluster'}"
    if missing:
        mark = Mark.MISSING if need.required else Mark.WARNING
        return Finding(key=_key(need), part=_part(facts), mark=mark, found=f"not allowed: {what}", why=_why(need), mend=_ASK)
    if unknown is not None:
        found = f"not known: {what}: {unknown.message}"
        mend = "try again; a run fails at this point if it is not allowed"
        return Finding(key=_key(need), part=_part(facts), mark=Mark.WARNING, found=found, why=_why(need), mend=mend)
    return Finding(key=_key(need), part=_part(facts), mark=Mark.OK, found=what)


def _of_run(need: Need, facts: Facts, *, deletes: bool) -> Finding:
    part = f"Rights of the run's pods ({facts.run_account or 'their service account'}) in namespace {facts.namespace}"
    what = f"{', '.join(need.verbs)} {need.resource.full_name}"
    answers = [facts.run_rights.get(right) for right in need.rights]
    if all(answers):
        return Finding(key=_key(need), part=part, mark=Mark.OK, found=what)
    if any(answer is None for answer in answers):
        found = f"not known: {what}; we may not ask about others"
        mend = "Kubeflow's own manifests give it; a run whose first task fails with `forbidden` shows that it is missing"
        return Finding(key=_key(need), part=part, mark=Mark.WARNING, found=found, why=_why(need), mend=mend)
    mark = Mark.MISSING if need.required or deletes else Mark.WARNING
    return Finding(key=_key(need), part=part, mark=mark, found=f"not allowed: {what}", why=_why(need), mend=_ASK)


_ASK = "ask an administrator for the rights that stand at the end"


def _why(need: Need) -> str:
    return f"{need.why}{f'; without it {need.without}' if need.without else ''}"


def _key(need: Need) -> str:
    return f"right:{'run:' if need.who == 'run' else ''}{need.resource.full_name}:{','.join(need.verbs)}"
