# What the page of `report.smk` shows: outputs that are marked with report(...), and jobs' logs.


def reported(*targets):
    """What tables and collecting targets have for the report: files, and what their marks say of them."""
    collected = set()
    for target in targets:
        for item in [*target.input, *target.output]:
            item = item({}) if callable(item) else item
            collected.update([item] if isinstance(item, str) else item)
    marked = [
        # The file itself, which knows whether it has got a module's prefix.
        (
            data_of(file, each.output),
            dict(
                name=" ".join(mark.labels["what"].split()),
                group=mark.category,
                text=workflow.sourcecache.open(mark.caption).read(),
                params=plain(each.params),
            ),
        )
        for each in workflow.rules
        if collected.intersection(map(str, each.output))
        for file in each.output
        if (mark := getattr(file, "flags", {}).get("report"))
    ]
    return sorted(marked, key=lambda pair: pair[1]["group"])


def data_of(file, outputs):
    """The JSON beside a table's Markdown; a picture is its own data."""
    data = str(file).removesuffix(".md") + ".json"
    return next((each for each in outputs if str(each) == data), file)


def plain(params):
    """Those of a rule's parameters that a caption can print."""
    kinds = (str, int, float, type(None))
    return {name: value for name, value in params.items() if isinstance(value, kinds)}


def pattern(path):
    """A folder that has all files of a pattern, and the regular expression of their paths."""
    folder = str(path).partition("{")[0].rpartition("/")[0]
    return {"folder": folder, "regex": regex_from_filepattern(str(path))}
