"""Which scores share a job."""

from advrob.plan.batches import ANY_CELL, score_batches
from advrob.plan.names import DataSet, Network

SCORES = "results/scores"


def test_cells_that_the_same_rules_need_are_together():
    needed_by = {
        f"{SCORES}/original/m/pca.h5": {"table_1", "table_2"},
        f"{SCORES}/universal-m-none/m/pca.h5": {"table_2", "table_1"},
        f"{SCORES}/gradient-m-none/m/pca.h5": {"table_2"},
        f"{SCORES}/original/m/none.h5": {"table_1", "table_2"},
        f"{SCORES}/original/m/sweep-noise.h5": {"table_1", "table_2"},
        "results/datasets/original.h5": {"table_1", "table_2"},
    }
    (batch,) = score_batches(needed_by)
    assert batch.network == Network("m", "pca")
    assert [dataset.name for dataset in batch.datasets] == ["original", "universal-m-none"]
    assert [cell.path for cell in batch.cells] == list(needed_by)[:2]
    assert batch.name == "score_m_pca_1"
    # A module's prefix is put before the outputs again.
    (again,) = score_batches({f"a/b/{file}": rules for file, rules in needed_by.items()})
    assert again == batch


def test_names_of_rules_are_unique_whatever_the_networks():
    needed_by = {
        f"{SCORES}/{dataset}/{network}.h5": {"table"}
        for network in ("a_b/c", "a/b_c")
        for dataset in ("original", "universal-a-none")
    }
    names = [batch.name for batch in score_batches(needed_by)]
    assert len({*names}) == 2
    assert all(name.isidentifier() for name in names)


def test_any_other_cell_is_named_by_its_wildcards():
    wildcards = {"dataset": "gradient-m-pca", "model": "m", "defence": "noise"}
    assert ANY_CELL.network_of(wildcards) == Network("m", "noise")
    assert ANY_CELL.names_of(wildcards) == ["gradient-m-pca"]
    (cell,) = ANY_CELL.cells
    assert cell.path == f"{SCORES}/{{dataset}}/{{model}}/{{defence}}.h5"
    fixed = score_batches({f"{SCORES}/{name}/m/pca.h5": {"t"} for name in ("original", "tuning")})
    assert fixed[0].network_of({}) == Network("m", "pca")
    assert fixed[0].datasets == (DataSet(), DataSet(tuning=True))
