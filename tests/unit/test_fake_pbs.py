"""The fake PBS is held against what a real one answered, byte for byte: tests/data/pbs."""

from __future__ import annotations

import calendar
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_pbs.control import FakePbs
from tests.fake_pbs.server import parts
from tests.pbs_recorded import Recording, recording

Jobs = dict[str, dict[str, Any]]


def words(text: str) -> list[str]:
    return text.split()


def shown_in(text: str) -> Jobs:
    """The attributes in what qstat printed, as JSON or as text."""
    if text.startswith("{"):
        found: Jobs = json.loads(text)["Jobs"]
        return found
    blocks = re.split(r"^Job Id: ", text.replace("\n\t", ""), flags=re.MULTILINE)[1:]
    jobs: Jobs = {}
    for block in blocks:
        attributes: dict[str, Any] = {}
        for key, value in re.findall(r"^    ([\w.]+) = (.*)$", block, re.MULTILINE):
            name, _, part = key.partition(".")
            attributes.update({name: {**attributes.get(name, {}), part: value}} if part else {name: value})
        jobs[block.partition("\n")[0]] = attributes
    return jobs


def epoch(when: str) -> float:
    return float(calendar.timegm(time.strptime(when)))


class Scene:
    """The fake, in the place of the server of the recordings: the same user, folders, names and times."""

    user, folder, programs = "pat", "w", "/opt/pbs/bin"
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    node = {"ncpus": 4, "mem": "24684096kb"}  # noqa: RUF012 - nobody changes it
    dialect = "openpbs"

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.work = self.home / self.folder
        self.work.mkdir(parents=True)
        self.pbs = FakePbs(root / "pbs", self.dialect)
        self.pbs.set(show=[[str(self.home), f"/home/{self.user}"], [str(self.pbs.bin), self.programs]])
        self.environment = {
            "HOME": str(self.home), "LANG": "C.UTF-8", "LOGNAME": self.user, "SHELL": "/bin/bash", "TZ": "UTC",
            "PATH": f"{self.pbs.bin}:{self.path}",
        }  # fmt: skip

    def run(self, command: str) -> tuple[str, str, int]:
        """One command line, as the user of the recordings."""
        done = subprocess.run(
            ["bash", "-c", command.replace(f"/home/{self.user}", str(self.home))],
            stdin=subprocess.DEVNULL, capture_output=True, cwd=self.work, env=self.environment, check=False, timeout=60,
        )  # fmt: skip
        out, err = (stream.decode("utf-8", "surrogateescape") for stream in (done.stdout, done.stderr))
        return out, err, done.returncode

    def told(self, case: str) -> Recording:
        return recording(case, self.dialect)

    def replay(self, case: str) -> None:
        """Run what was recorded, and compare all that comes out."""
        told = self.told(case)
        for name, text in told.files.items():
            # How long a job really takes is not what is compared.
            (self.work / name).write_text(re.sub(r"^sleep [15]$", "true", text, flags=re.MULTILINE))
        if accepted := re.match(r"(\d+)(?:\[\])?\.\w+\n", told.out):
            self.pbs.set(next=int(accepted[1]))
        if when := re.search(r'"timestamp":\t(\d+)', told.out):
            self.pbs.set(clock=float(when[1]))
        assert self.run(told.command) == (told.out, told.err, told.code)

    def at(self, when: str) -> None:
        """It is that time (`Fri Nov 20 23:59:37 2026`), and the server looks around."""
        self.pbs.set(clock=epoch(when))
        with self.pbs.opened() as server:
            server.step()

    def live(self, submitted: str, shown: str, *after: str) -> None:
        """Submit a job as recorded, let it live as long as it did, and compare what qstat says in the end.

        `submitted` is a case or the arguments of qsub, `after` what else was done right then.
        """
        jobs = shown_in(self.told(shown).out)
        job = next(iter(jobs.values()))
        nodes = re.findall(r"(\w+)/", "+".join(one.get("exec_host", "") for one in jobs.values()))
        if nodes:
            self.pbs.set(nodes=dict.fromkeys(nodes, self.node))
        self.pbs.set(clock=epoch(job["ctime"]), scheduling=False)
        if submitted.startswith("-"):
            self.pbs.set(next=int(re.split(r"\W", next(iter(jobs)))[0]))
            assert self.run(f"qsub {submitted}")[1:] == ("", 0)
        else:
            self.replay(submitted)
        for case in after:
            self.replay(case)
        self.pbs.set(scheduling=True)
        self.at(job.get("stime") or job.get("start_time") or job["mtime"])
        self.patch(jobs)
        if self.dialect == "openpbs" and any("session_id" in one for one in jobs.values()):
            self.pbs.elapse(2)
            self.at(time.asctime(time.gmtime(self.clock())))
            self.patch(jobs)
        self.end(job)
        self.replay(shown)

    def end(self, job: dict[str, Any]) -> None:
        """It ends when it did, by itself or by its walltime."""
        ended = job.get("obittime") or job.get("comp_time")
        if not ended:
            return
        if int(job.get("Exit_status", job.get("exit_status", 0))) in {-29, -11, 2}:
            self.at(time.asctime(time.gmtime(epoch(ended) - 1)))
        self.pbs.wait()
        self.at(ended)

    def clock(self) -> float:
        with self.pbs.opened() as server:
            return float(server.state["clock"])

    def patch(self, jobs: Jobs) -> None:
        """What no two runs have in common: the process, what it used, the place on the node."""
        with self.pbs.opened() as server:
            for found in server.jobs.values():
                for index, one in parts(found):
                    told = jobs.get(server.name(found, index), {})
                    one["used"] = told.get("resources_used", one.get("used", {}))
                    own = {
                        name: told[name] for name in ("session_id", "exec_host") if name in told and name in one["attr"]
                    }
                    one["attr"].update(own)
                    one["total_runtime"] = told.get("total_runtime", one.get("total_runtime", ""))


class TorqueScene(Scene):
    """The same for TORQUE."""

    user, folder, programs, path, dialect = "hpc", "tq/rec", "/opt/torque/bin", "/usr/local/bin:/usr/bin:/bin", "torque"
    node = {"ncpus": 4}  # noqa: RUF012 - nobody changes it


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.pbs.close()


REFUSED = words("""
unknown_queue long_queue disabled_queue acl_queue over_max_walltime unknown_resource bad_resource_value ncpus_negative
select_bad_value select_unknown_res select_empty select_garbage select_no_equals select_neg select_zero select_float
select_walltime_inside select_plus_ncpus select_space bad_mem bad_mem_unit mem_frac mem_GiB bad_place bad_W_noeq bad_option
bad_long_option bad_directive bad_directive2 directive_text script_missing script_dir script_empty stdin_empty
scriptname_long a_bad J_garbage J_list J_neg J_rev J_toobig J_single J_zero J_empty J_one J_float J_pctneg J_pct0 J_rerun_n
J_interactive p_range r_bad m_bad j_bad k_bad v_malformed walltime_abc walltime_min walltime_hour walltime_four walltime_neg
walltime_daydash no_walltime_shortq route_queue mem_G select_huge select_toobig_node name_len_230 name_len_231 name_digit
name_space name_slash name_colon name_at name_unicode name_dash name_plus name_comma name_eq name_quote name_dollar
""")


@pytest.mark.parametrize("case", REFUSED)
def test_qsub_refuses_and_accepts_as_the_real_one(scene: Scene, case: str) -> None:
    scene.replay(f"qsub_err_{case}")


ODD = "qsub_f_stale_error_1 qsub_f_stale_error_2 qsub_crlf qsub_script_args tag_W_comment out_path_unicode array_submit_dep_sub"


@pytest.mark.parametrize("case", words(ODD))
def test_other_refusals(scene: Scene, case: str) -> None:
    scene.replay(case)


def test_what_a_hook_says(scene: Scene) -> None:
    scene.pbs.set(hook="site policy: please set a project with -P\nsecond line")
    scene.replay("qsub_err_hook_reject")


def test_a_users_limit(scene: Scene) -> None:
    scene.run("qsub -f -h -- /bin/true; qsub -f -h -- /bin/true")
    scene.pbs.set(max_queued=2)
    scene.replay("qsub_err_max_queued")
    scene.replay("qsub_err_max_queued_array")


DOWN = "qsub_f qstat_json qdel qselect pbsnodes qstat_E qstat_B"


@pytest.mark.parametrize("case", words(DOWN))
def test_server_down(scene: Scene, case: str) -> None:
    scene.pbs.set(down="stopped")
    scene.replay(f"server_down_{case}")


UNKNOWN = words("""
qdel_unknown qdel_malformed qdel_malformed2 qdel_none qdel_invalid_option qdel_other_server qhold_unknown qrls_unknown
qrerun_unknown qstat_one_unknown_master qstat_multi_E_all_unknown_master qstat_malformed_id qstat_malformed_id2
array_qstat_subjob_outofrange tag_qselect_none tag_qselect_bad tag_v_only_search tag_qselect_long
""")


@pytest.mark.parametrize("case", UNKNOWN)
def test_jobs_that_are_none(scene: Scene, case: str) -> None:
    scene.replay(case)


LIVES = [
    ("state_submit_stoppedq", "qstat_json_live_stoppedq"),
    ("state_submit_big", "qstat_json_live_big"),
    ("state_submit_hold", "qstat_json_live_hold"),
    ("state_submit_exit3", "qstat_json_F_exit3"),
    ("state_submit_exit255", "qstat_json_F_exit255"),
    ("state_submit_exit300", "qstat_json_F_exit300"),
    ("state_submit_sig9", "qstat_json_F_sig9"),
    ("state_submit_sigsegv", "qstat_json_F_sigsegv"),
    ("state_submit_child9", "qstat_json_F_child9"),
    ("state_submit_exec9", "qstat_json_F_exec9"),
    ("state_submit_walltime", "qstat_json_F_walltime"),
    ("array_submit_allfail", "array_F_allfail", "array_submit_dep_fail"),
    ("array_submit_allok", "array_F_allok", "array_submit_dep"),
    ("array_submit_held", "array_held_parent"),
    ("-f -N wtarr -J 1-2 -l walltime=00:00:03 -- /bin/sleep 100", "array_F_walltime"),
]


@pytest.mark.parametrize("cases", LIVES, ids=[cases[1] for cases in LIVES])
def test_lives(scene: Scene, cases: tuple[str, ...]) -> None:
    scene.live(*cases)


def test_an_array_that_is_deleted_before_it_ran(scene: Scene) -> None:
    scene.pbs.set(next=5233)
    scene.at("Sat Nov 21 00:52:09 2026")
    scene.run("qsub -f -N delqarr -J 1-3 -q stoppedq -- /bin/true; qdel '5233[]'")
    scene.replay("array_F_deleted_queued")


def test_tasks_that_are_deleted_before_they_ran(scene: Scene) -> None:
    scene.pbs.set(next=5234)
    scene.at("Sat Nov 21 00:52:10 2026")
    scene.run("qsub -f -N delsub -J 1-3 -q stoppedq -- /bin/true; qdel '5234[2]'")
    scene.replay("array_deleted_subjob_queued")


def test_tasks_that_are_deleted_before_they_ran_after_the_end(scene: Scene) -> None:
    scene.pbs.set(nodes={"pbsn1": Scene.node})
    scene.at("Sat Nov 21 00:02:22 2026")
    scene.replay("array_submit_held")
    assert scene.run("qdel '149[2].pbshead'; qdel '149[1-2].pbshead'") == ("", "", 0)
    scene.at("Sat Nov 21 00:02:31 2026")
    assert scene.run("qrls '149[].pbshead'") == ("", "", 0)
    jobs = shown_in(recording("array_F_held").out)
    scene.patch(jobs)
    scene.end(jobs["149[].pbshead"])
    scene.replay("array_F_held")


def test_deletion(scene: Scene) -> None:
    scene.pbs.set(nodes={"pbsn2": Scene.node})
    scene.at("Fri Nov 20 23:59:37 2026")
    scene.replay("state_submit_delrun")
    scene.at("Fri Nov 20 23:59:38 2026")
    scene.replay("state_submit_delq")
    scene.at("Sat Nov 21 00:00:44 2026")
    scene.replay("qdel_running")
    scene.replay("qdel_queued")
    for case in ("qstat_json_F_delrun", "qstat_json_F_delq"):
        jobs = shown_in(recording(case).out)
        scene.patch(jobs)
        (job,) = jobs.values()
        scene.end(job)
        scene.replay(case)


def test_deletion_of_what_ignores_it(scene: Scene) -> None:
    """Killed ten seconds later; until then it runs on."""
    scene.pbs.set(clock=1000.0)
    out, _, _ = scene.run("qsub -f -- /bin/bash -c 'trap \"\" TERM; >trapped; while :; do sleep 0.1; done'")
    while not (scene.home / "trapped").exists():
        scene.pbs.pause(0.05)
    scene.pbs.elapse(5)
    scene.run(f"qdel {out}")
    states = []
    for _ in range(12):
        scene.pbs.elapse(1)
        with scene.pbs.opened() as server:
            server.step()
            if any(one.get("killed") for one in server.jobs.values()):
                scene.pbs.pause(10)
        shown = scene.run(f"qstat -x -f -F dsv {out}")[0]
        states.append(" ".join(re.findall(r"(?:job_state|substate|Exit_status)=\S+?(?=\|)", shown)) + " ")
    told = [line.partition(" ")[2] for line in recording("qdel_trap").out.splitlines()]
    assert (states[:9], states[-1]) == (told[:9], told[-1])


HISTORY_OFF = "qstat qstat_x qstat_x_plain qstat_x_all qstat_x_unknown"


def test_without_history(scene: Scene) -> None:
    scene.pbs.set(history=False, nodes={"pbsn1": Scene.node})
    scene.at("Fri Nov 20 23:48:58 2026")
    scene.replay("hist_off_qsub")
    scene.pbs.pause(10)
    for case in words(HISTORY_OFF):
        scene.replay(f"hist_off_{case}")
    scene.replay("hist_off_qselect_x")


def test_a_running_job_without_history(scene: Scene) -> None:
    scene.pbs.set(history=False, nodes={"pbsn1": Scene.node})
    scene.at("Fri Nov 20 23:49:22 2026")
    scene.replay("hist_off_run_qsub")
    scene.replay("hist_off_qstat_running_x")
    scene.patch(shown_in(recording("hist_off_qstat_running").out))
    scene.replay("hist_off_qstat_running")
    scene.run("qdel 4.pbshead")
    scene.pbs.pause(10)
    scene.pbs.elapse(1)
    assert scene.run("qstat -f 4.pbshead") == ("", "qstat: Unknown Job Id 4.pbshead\n", 153)


def test_dependencies(scene: Scene) -> None:
    scene.pbs.set(nodes={"pbsn1": Scene.node}, next=24)
    scene.at("Fri Nov 20 23:50:55 2026")
    # The parents wait, as those of the recording ran for a while.
    scene.pbs.set(scheduling=False)
    scene.run("echo 'exit 0' | qsub -N depA; echo 'exit 3' | qsub -N depF")
    waiting = ["afterok", "afterany_two", "afternotok_bad", "afterok_bad", "two_types"]
    for case in waiting:
        scene.replay(f"qsub_depend_{case}")
    scene.replay("qstat_H_depend_json")
    scene.replay("qstat_parent_depend_json")
    scene.pbs.set(scheduling=True)
    scene.at("Fri Nov 20 23:50:55 2026")
    scene.pbs.wait()
    scene.at("Fri Nov 20 23:50:59 2026")
    for case in ("afterok", "afterany"):
        scene.patch(shown_in(recording(f"qstat_after_parent_{case}").out))
    scene.pbs.wait()
    scene.at("Fri Nov 20 23:51:00 2026")
    for case in ("afternotok_bad", "afterok_bad", "afterok", "afterany"):
        scene.replay(f"qstat_after_parent_{case}")


def test_a_job_to_wait_for_that_is_unknown_or_forgotten(scene: Scene) -> None:
    for case in ("dep2_unknown_1", "dep2_unknown_3", "dep_afterany_forgotten", "dep_afterany_forgotten_qstat"):
        scene.replay(case)


def test_long_lists_of_jobs_to_wait_for_crash_the_server(scene: Scene) -> None:
    for case in ("dep_200", "dep_454", "dep_unknown_3"):
        scene.replay(case)


def test_several_ids(scene: Scene) -> None:
    for number, when, options in (
        (114, "Fri Nov 20 23:59:36 2026", "-N ok"), (290, "Sat Nov 21 00:05:57 2026", "-q stoppedq -N 007 -A 007 -P 007"),
        (291, "Sat Nov 21 00:05:57 2026", "-q stoppedq -N 1e5 -A 1e5 -P 1e5"),
        (292, "Sat Nov 21 00:05:57 2026", "-q stoppedq -N Infinity -A Infinity -P Infinity"),
    ):  # fmt: skip
        scene.pbs.set(next=number)
        scene.at(when)
        scene.run(f"echo true | qsub -f {options}")
        scene.at(when)
    scene.pbs.wait()
    cases = "E E_unknown E_unknown_first E_fin_nox dsv dsv_unknown"
    for case in words(cases):
        scene.replay(f"qstat_multi_{case}_master")
    scene.replay("qstat_finished_no_x_plain")


def test_the_line_that_is_asked_for(scene: Scene) -> None:
    scene.at("Fri Nov 20 23:59:37 2026")
    scene.replay("state_submit_stoppedq")
    told = recording("dsv_us_master").out.partition("\n")[0] + "\n"
    assert scene.run("qstat -E -x -f -F dsv -D $'\\x1f' 135.pbshead") == (told, "", 0)


def test_selection(scene: Scene) -> None:
    for case in words("submit_queued submit_running submit_finishing submit_array"):
        scene.replay(f"tag_{case}")
    scene.pbs.wait("375")
    for case in words("qselect-N qselect-A qselect-P qselect_prefix qselect_combined qselect_T qselect_other_user"):
        scene.replay(f"tag_{case}")


def test_control(scene: Scene) -> None:
    scene.replay("ctl_submit_fin")
    scene.pbs.wait()
    for case in ("qdel_finished", "qdel_finished_x"):
        scene.replay(case)
    scene.pbs.set(next=302)
    scene.run("qsub -f -- /bin/true; qsub -h -- /bin/true; qdel 302; qdel 303")
    scene.pbs.wait()
    scene.replay("qhold_finished")
    scene.pbs.set(next=315)
    scene.run("qsub -f -q stoppedq -- /bin/true; qsub -f -- /bin/sleep 100")
    for case in words(
        "qhold_queued qhold_again qrls qrls_notheld qhold_system qhold_running qrerun_user qrerun_queued"
    ):
        scene.replay(case)


def test_a_list_that_ends_with_an_unknown_job_crashes_the_server(scene: Scene) -> None:
    scene.run("qsub -h -- /bin/true")
    assert scene.run("qdel 1 999999")[2] == 162
    assert scene.run("qstat")[2] == 255


def test_what_a_job_finds(scene: Scene) -> None:
    (scene.work / "k_default.sh").write_text('env | sort; echo "pwd=$(pwd) umask=$(umask)"')
    scene.replay("env_submit_default")
    scene.pbs.wait()
    scene.at(time.asctime(time.gmtime(scene.clock() + 1)))
    found = (scene.work / "k_default.out").read_text().replace(str(scene.home), "/home/pat")
    told = recording("env_job_default").out.partition("output:\n")[2]
    lines = [line for line in told.partition("\n\n")[0].splitlines() if not line.startswith("SHLVL=")]
    own = re.compile(r"^(PBS_JOBCOOKIE|PBS_NODEFILE|TMPDIR|PBS_O_PATH)=.*")  # of each run, and of the test
    wanted = {own.sub(r"\1", line) for line in lines} | {"pwd=/home/pat umask=0077"}
    assert {own.sub(r"\1", line) for line in found.splitlines() if not line.startswith("SHLVL=")} == wanted


# ---------------------------------------------------------------------------------------------- TORQUE


@pytest.fixture
def torque(tmp_path: Path) -> Iterator[TorqueScene]:
    scene = TorqueScene(tmp_path)
    yield scene
    scene.pbs.close()


TORQUE_QSUB = words("""
afterok_unknown afterany_unknown name_15 name_16 name_digit name_blank name_dash name_plus name_colon name_slash name_umlaut
walltime_minutes walltime_days walltime_letters walltime_seconds walltime_hours walltime_none mem_fraction mem pmem
queue_unknown resource_unknown too_long too_many_nodes too_many_cores array_step array_limit_0 bad_directive unknown_option
no_script crlf empty bad_W priority account gpus variables
""")


@pytest.mark.parametrize("case", TORQUE_QSUB)
def test_torque_refuses_and_accepts_as_the_real_one(torque: TorqueScene, case: str) -> None:
    (torque.work / "s.sh").write_text("")
    torque.replay(f"qsub_{case}")


@pytest.mark.parametrize("case", words("qstat qstat_all qsub qdel qselect qhold version"))
def test_torque_down(torque: TorqueScene, case: str) -> None:
    (torque.work / "s.sh").write_text("true\n")
    torque.pbs.set(down="stopped")
    torque.replay(f"down_{case}")


TORQUE_UNKNOWN = words("""
qdel_unknown qdel_malformed qdel_none qrls_unknown qhold_unknown qrerun_unknown unknown malformed qselect_none qselect_x version
""")


@pytest.mark.parametrize("case", TORQUE_UNKNOWN)
def test_torque_jobs_that_are_none(torque: TorqueScene, case: str) -> None:
    torque.replay(case)


def test_torque_server_and_queues(torque: TorqueScene) -> None:
    torque.pbs.set(next=146)
    torque.replay("server")
    torque.replay("queues")
    told = torque.told("pbsnodes").out
    statuses = re.findall(r"status = (.*)", told)
    torque.pbs.set(
        nodes={name: {"ncpus": 4, "status": text} for name, text in zip(("tn1", "tn2"), statuses, strict=True)}
    )
    torque.replay("pbsnodes")


TORQUE_LIVES = [
    ("qsub_ok", "C_ok"),
    ("qsub_exit_7", "C_exit_7"),
    ("qsub_kill_9", "C_kill_9"),
    ("qsub_two_nodes", "C_two_nodes"),
    ("qsub_array_list", "array_held_t"),
    ("qsub_array_list", "array_task"),
    ("qsub_array_of_one", "array_of_one_t"),
]


@pytest.mark.parametrize("cases", TORQUE_LIVES, ids=[cases[1] for cases in TORQUE_LIVES])
def test_torque_lives(torque: TorqueScene, cases: tuple[str, ...]) -> None:
    torque.live(*cases)


def test_torque_deletion_by_the_walltime(torque: TorqueScene) -> None:
    torque.live("qsub_walltime", "C_walltime")


def test_torque_dependencies(torque: TorqueScene) -> None:
    torque.pbs.set(nodes={"tn1": TorqueScene.node})
    torque.at("Sat Nov 21 18:25:19 2026")
    for case in ("array_list", "held", "afterok", "afterokarray", "afterok_failed"):
        torque.replay(f"qsub_{case}")
    for case in ("H_held", "H_depend", "H_depend_array"):
        torque.replay(case)
    torque.replay("qrls_parent")
    torque.pbs.wait()
    torque.at("Sat Nov 21 18:25:31 2026")
    torque.patch(shown_in(torque.told("after_parent_afterok").out))
    torque.pbs.wait()
    torque.at("Sat Nov 21 18:25:32 2026")
    torque.replay("after_parent_afterok")
    torque.replay("after_parent_afternotok")


def test_torque_arrays(torque: TorqueScene) -> None:
    told = shown_in(torque.told("array_C_t").out)
    torque.at("Sat Nov 21 18:25:19 2026")
    torque.replay("qsub_array")
    torque.pbs.wait()
    torque.patch(told)
    torque.pbs.set(scheduling=False)
    torque.at("Sat Nov 21 18:25:20 2026")
    torque.pbs.set(scheduling=True)
    torque.at("Sat Nov 21 18:25:21 2026")
    torque.pbs.wait()
    torque.patch(told)
    torque.at("Sat Nov 21 18:25:21 2026")
    torque.replay("array_C_t")


def test_torque_control(torque: TorqueScene) -> None:
    torque.at("Sat Nov 21 18:25:19 2026")
    torque.replay("qsub_ok")
    torque.pbs.wait()
    torque.replay("qsub_array_list")
    torque.at("Sat Nov 21 18:25:28 2026")
    torque.replay("qdel_task")
    torque.replay("array_task_deleted_t")
    for case in ("qdel_complete", "qhold_complete", "qrls_complete"):
        torque.replay(case)
    torque.pbs.set(next=194)
    torque.run("qsub -h; qsub -h; echo sleep 100 | qsub")
    for case in words("qdel_mixed qdel_mixed_first qhold_held qrls qrls_unknown qhold_running qrerun_user"):
        torque.replay(case)
    torque.run("echo sleep 100 | qsub -q batch")
    torque.pbs.wait("195")
    torque.pbs.set(next=195)
    torque.run("echo sleep 100 | qsub")
    torque.replay("qrls_not_held")


def test_torque_deletion(torque: TorqueScene) -> None:
    del torque.environment["TZ"]
    torque.at("Sat Nov 21 18:25:27 2026")
    torque.pbs.set(next=190)
    torque.run("echo sleep 300 | qsub -N run")
    torque.pbs.set(next=193)
    torque.run("echo sleep 1 | qsub -N big -l nodes=2:ppn=4")
    torque.pbs.set(next=194)
    torque.run("qsub -N late -a 12312359")
    torque.patch(shown_in(torque.told("R").out))
    for case in ("R", "W_late", "short_id", "Q_big", "qselect_name", "other_server", "qdel_running", "R_deleted"):
        torque.replay(case)
    torque.pbs.wait()
    torque.pbs.set(scheduling=False)
    torque.patch(shown_in(torque.told("C_deleted").out))
    torque.at("Sat Nov 21 18:25:28 2026")
    for case in ("qdel_queued", "C_deleted", "C_deleted_queued"):
        torque.replay(case)
    torque.pbs.elapse(301)
    assert torque.run("qstat -f 190")[2] == 153
