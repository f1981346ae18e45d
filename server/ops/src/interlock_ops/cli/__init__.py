"""The command ``interlock-ops``: one module for each subcommand."""

from __future__ import annotations

from typing import Final

import click

from interlock_ops import __version__
from interlock_ops.cli.access_review import access_review
from interlock_ops.cli.cohort_list import cohort_list
from interlock_ops.cli.cohort_show import cohort_show
from interlock_ops.cli.device_assign import device_assign
from interlock_ops.cli.device_authorise import device_authorise
from interlock_ops.cli.device_certificate import device_certificate
from interlock_ops.cli.device_claim import device_claim
from interlock_ops.cli.device_claims import device_claims
from interlock_ops.cli.device_countersign import device_countersign
from interlock_ops.cli.device_decommission import device_decommission
from interlock_ops.cli.device_export import device_export
from interlock_ops.cli.device_list import device_list
from interlock_ops.cli.device_revoke import device_revoke
from interlock_ops.cli.device_show import device_show
from interlock_ops.cli.edge import Main
from interlock_ops.cli.explain import explain_device
from interlock_ops.cli.groups import Defaulting
from interlock_ops.cli.key_new import key_new
from interlock_ops.cli.key_show import key_show
from interlock_ops.cli.log_export import log_export
from interlock_ops.cli.log_verify import log_verify
from interlock_ops.cli.monitor import monitor
from interlock_ops.cli.recall_record import recall_record
from interlock_ops.cli.recall_status import recall_status
from interlock_ops.cli.rollout_advance import rollout_advance
from interlock_ops.cli.rollout_authorise import rollout_authorise
from interlock_ops.cli.rollout_exclude import rollout_exclude
from interlock_ops.cli.rollout_pause import rollout_pause
from interlock_ops.cli.rollout_post import rollout_post
from interlock_ops.cli.rollout_propose import rollout_propose
from interlock_ops.cli.rollout_recall import recall_begin
from interlock_ops.cli.rollout_renew import rollout_renew
from interlock_ops.cli.rollout_resume import rollout_resume
from interlock_ops.cli.rollout_start import rollout_start
from interlock_ops.cli.rollout_status import rollout_status
from interlock_ops.cli.rollout_watch import rollout_watch
from interlock_ops.cli.sample import sample
from interlock_ops.cli.site_add import site_add
from interlock_ops.cli.site_edit import site_edit
from interlock_ops.cli.site_hold import site_hold
from interlock_ops.cli.site_list import site_list
from interlock_ops.cli.site_release import site_release
from interlock_ops.cli.site_show import site_show

__all__ = ["main"]

SECTIONS: Final = {
    "A rollout, from proposal to a stop": (
        "interlock-ops sample order > order.toml",
        'interlock-ops rollout propose order.toml --reason "security fix"',
        'interlock-ops rollout authorise ORDER_ID --role approver --reason "tested"    (others)',
        'interlock-ops rollout start ORDER_ID --reason "window agreed"',
        'interlock-ops rollout authorise --go GO_ID --role approver --reason "agreed"  (others)',
        "interlock-ops rollout watch ORDER_ID",
        "interlock-ops rollout status ORDER_ID",
        'interlock-ops rollout pause ORDER_ID --reason "ward 3 reports alarms"',
        'interlock-ops rollout exclude ORDER_ID --reason-name fan_controller --reason "known"',
    ),
    "A release that must come back": (
        'interlock-ops rollout recall gateway/2.0.0 --reason "alarms sound late"',
        "interlock-ops rollout recall status ORDER_ID",
        "interlock-ops rollout recall record ORDER_ID GW-0003 --as returned --reason depot",
    ),
    "A gateway, from delivery to its cohort": (
        "interlock-ops device claim --product gateway --site st-anna --cohort wards \\",
        '    --device GW-0001 --secret-dir secrets --reason "new ward"',
        "interlock-ops device list --state waiting",
        'interlock-ops device countersign GW-0001 --role engineer --reason "I stood before it"',
        "interlock-ops device show GW-0001",
        'interlock-ops device assign GW-0001 --to icu --reason "moved"',
        'interlock-ops device authorise ASSIGNMENT_ID --role approver --reason "..."  (others)',
        'interlock-ops device revoke GW-0001 --reason "stolen"',
        'interlock-ops device decommission GW-0001 --out GW-0001.certificate --reason "scrapped"',
    ),
    "A hospital that wants nothing changed for a while": (
        'interlock-ops site hold st-anna --until 3d --reason "the network is being rebuilt"',
        "interlock-ops site show st-anna",
        'interlock-ops site release st-anna --reason "the network is back"',
    ),
    "The log, for an auditor": (
        "interlock-ops access review --csv access.csv",
        "interlock-ops log export audit --log-key log.pub.json",
        "interlock-ops log verify audit --log-key log.pub.json --checkpoint older",
    ),
    "Why something stands still": (
        "interlock-ops explain GW-0003",
        "interlock-ops rollout status ORDER_ID",
        "interlock-ops device list --reason interlock_not_clear",
        "interlock-ops site show st-anna",
        "interlock-ops cohort show wards",
    ),
    "Completion of commands and options, in your shell": (
        'eval "$(_INTERLOCK_OPS_COMPLETE=bash_source interlock-ops)"       in ~/.bashrc',
        'eval "$(_INTERLOCK_OPS_COMPLETE=zsh_source interlock-ops)"        in ~/.zshrc',
        "_INTERLOCK_OPS_COMPLETE=fish_source interlock-ops | source        in config.fish",
    ),
    "Exit codes": (
        "0   done, or nothing to do",
        "2   usage or settings: change them",
        "10  too early: wait",
        "20  refused, with a named reason",
        "30  network or disk: trying again helps",
        "1   anything else",
    ),
}


@click.group(cls=Main, sections=SECTIONS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="interlock-ops")
def main() -> None:
    """Sign and send what operators and engineers say about a fleet, and show how it stands.

    Every act is a signed statement: there are no passwords, and the server cannot change one. One
    signature stops; starting, advancing and resuming take other people too.
    """


@main.group()
def key() -> None:
    """Make and show keys."""


@main.group()
def rollout() -> None:
    """Propose, authorise, start, advance, renew, pause, resume, exclude and follow."""


@rollout.group(cls=Defaulting, default="begin")
def recall() -> None:
    """Take a release back (PRODUCT/VERSION), and see to it until every gateway is accounted for."""


@main.group()
def device() -> None:
    """Let gateways in, list them, say why each does what it does, move them, and let them go."""


@main.group()
def cohort() -> None:
    """Show the cohorts: whose word counts there, and where their devices are."""


@main.group()
def site() -> None:
    """Describe hospitals, hold and release them, and show what stands still there."""


@main.group()
def access() -> None:
    """Review who may do what, until when, and when each last acted."""


@main.group()
def log() -> None:
    """Export the log of everything that was accepted, and verify it offline."""


key.add_command(key_new)
key.add_command(key_show)
for _command in (
    rollout_propose,
    rollout_authorise,
    rollout_start,
    rollout_advance,
    rollout_renew,
    rollout_pause,
    rollout_resume,
    rollout_exclude,
    rollout_status,
    rollout_watch,
    rollout_post,
):
    rollout.add_command(_command)
for _command in (
    device_claim,
    device_claims,
    device_countersign,
    device_list,
    device_show,
    device_assign,
    device_authorise,
    device_revoke,
    device_decommission,
    device_export,
):
    device.add_command(_command)
device.add_command(device_certificate)
for _command in (recall_begin, recall_status, recall_record):
    recall.add_command(_command)
cohort.add_command(cohort_list)
cohort.add_command(cohort_show)
access.add_command(access_review)
log.add_command(log_export)
log.add_command(log_verify)
for _command in (site_list, site_show, site_add, site_edit, site_hold, site_release):
    site.add_command(_command)
main.add_command(rollout_post)
main.add_command(explain_device)
main.add_command(monitor)
main.add_command(sample)
