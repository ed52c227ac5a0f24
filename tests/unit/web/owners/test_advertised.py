from web.owners.advertised import advertising_problem

LOCAL, OTHER_LOCAL = "http://127.0.0.1:6066", "http://127.0.0.2:6066"
REMOTE, OTHER_REMOTE = "http://10.0.0.5:6066", "http://worker-2.example:6066"


def test_workers_of_one_machine_may_advertise_loopback() -> None:
    assert advertising_problem(LOCAL, {0: LOCAL, 1: OTHER_LOCAL}, {0}) is None


def test_remote_workers_give_no_warning() -> None:
    assert advertising_problem(REMOTE, {0: REMOTE, 1: OTHER_REMOTE}, {0}) is None


def test_loopback_beside_a_remote_worker_is_named() -> None:
    problem = advertising_problem(LOCAL, {0: LOCAL, 1: REMOTE}, {0})

    assert problem
    assert problem.startswith(f"{LOCAL} cannot be reached by the worker at {REMOTE}")


def test_a_remote_worker_names_another_one_that_advertises_localhost() -> None:
    problem = advertising_problem(REMOTE, {0: REMOTE, 1: "http://localhost:6066"}, {0})

    assert problem
    assert problem.startswith("http://localhost:6066 cannot be reached")


def test_two_workers_that_advertise_the_same_address_are_named() -> None:
    problem = advertising_problem(LOCAL, {0: LOCAL, 1: LOCAL}, {0})

    assert problem
    assert "another worker advertises http://127.0.0.1:6066 too, for partitions [1]" in problem
