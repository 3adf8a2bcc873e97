"""What goes wrong in edits: what they bring, where they act, and in which call."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/edits.py",
        "test_edits.py",
        (
            "edits: units of the source ignored",
            'values[:, :, within("units", site.units, values.shape[2], "the layer\'s unit axis")]',
            "values[:, :, : len(site.units) if site.units else None]",
        ),
    ),
    *mutations_of(
        "probe/edits.py",
        "test_edit_kinds.py",
        ("edits: a mean over steps", "values.nanmean(0, keepdim=True)", "values.nanmean(1, keepdim=True)"),
        ("edits: a mean of one row", "values.nanmean(0, keepdim=True)", "values[:1]"),
    ),
    *mutations_of(
        "probe/edits.py",
        "test_edit_values.py",
        (
            "edits: a source's kept steps taken for all",
            "return [kept.index(step) for step in steps]",
            "return list(range(len(steps)))",
        ),
        ("edits: numbers rounded to float32", "torch.tensor(value, dtype=torch.float64)", "torch.tensor(value)"),
        (
            "edits: a tensor that the caller can change",
            "value.detach().clone() if isinstance",
            "value.detach() if isinstance",
        ),
    ),
    *mutations_of(
        "probe/edits.py",
        "test_packed.py",
        (
            "edits: a negative step from the padding's end",
            "given < 0, given + ends, given",
            "given < 0, given + len(values[0]), given",
        ),
    ),
    *mutations_of(
        "probe/edit_kinds.py",
        "test_edits.py",
        ("edits: source_rows ignored", "place.rows if self.source_rows is None else", "place.rows if True else"),
        (
            "edits: source_rows by row of the batch",
            "torch.tensor(self.source_rows)[place.numbers]",
            "torch.tensor((*self.source_rows, 0, 0))[place.rows]",
        ),
        (
            "edits: the source's first step at every step",
            "self.values[rows, place.positions]",
            "self.values[rows, 0]",
        ),
    ),
    *mutations_of(
        "probe/edit_kinds.py",
        "test_edit_kinds.py",
        ("edits: seed ignored", "manual_seed(self.seed or 0)", "manual_seed(0)"),
        (
            "edits: a resample by the edit's rows",
            "self.values[drawn[place.rows], place.positions]",
            "self.values[drawn[place.numbers], place.positions]",
        ),
        (
            "edits: a resample of one step",
            "self.values[drawn[place.rows], place.positions]",
            "self.values[drawn[place.rows], 0]",
        ),
        ("edits: a mean of the first step", "self.values[0, place.positions]", "self.values[0, 0]"),
        ("edits: scale ignored", "value + self.scale * self.direction.to(value)", "value + self.direction.to(value)"),
        (
            "edits: a direction replaces the value",
            "value + self.scale * self.direction.to(value)",
            "(self.scale * self.direction.to(value)).expand_as(value)",
        ),
        (
            "edits: a function's result of any shape",
            "if not isinstance(made, Tensor) or made.shape != given.shape:",
            "if not isinstance(made, Tensor):",
        ),
        (
            "edits: a function is not told the step",
            "                (step,),\n",
            "                self.site.steps,\n",
        ),
        ("edits: a direction of any length", "return len(self.direction)", "return None"),
        (
            "edits: repr without the place",
            'for name in ("layer", "units", "steps", "rows", "call")}',
            'for name in ("layer", "units", "steps")}',
        ),
    ),
    *mutations_of(
        "probe/edit_kinds.py",
        "test_edit_values.py",
        ("edits: hash ignores content", ".encode() + data)", ".encode())"),
    ),
    *mutations_of(
        "probe/edit_kinds.py",
        "test_edit_errors.py",
        (
            "edits: another batch is accepted",
            "elif self.site.rows is None and len(self.values) != batch:",
            "elif False:",
        ),
    ),
    *mutations_of(
        "probe/edit_kinds.py",
        "test_packed.py",
        ("edits: padding of a source is put in", "if bool(values.isnan().any()):", "if False:"),
    ),
    *mutations_of(
        "probe/placing.py",
        "test_edits.py",
        (
            "edits: units ignored",
            'torch.tensor(within("units", site.units, layer.size(site.signal), f"layer',
            'torch.tensor(within("units", None, layer.size(site.signal), f"layer',
        ),
        (
            "edits: rows ignored",
            "return torch.arange(batch) if given is None else torch.tensor(rows)",
            "return torch.arange(batch)",
        ),
        ("edits: steps in ascending order", "in enumerate(steps)\n", "in enumerate(sorted(steps))\n"),
        ("edits: a gap in units is filled", " and bool((numbers.diff() == 1).all()))", ")"),
        ("edits: layer ignored", "if site.layer in (None, layer.name)]", "]"),
    ),
    *mutations_of(
        "probe/placing.py",
        "test_edit_kinds.py",
        (
            "edits: a reverse layer's steps are the input's",
            "time - 1 - step if layer.reverse else step: Place(",
            "step: Place(",
        ),
        (
            "edits: a later edit does not see the earlier one's",
            "one.put(changed[where].clone(), step)",
            "one.put(value[where].clone(), step)",
        ),
        ("edits: values for other units", "if held is not None and held != len(units):", "if False:"),
    ),
    *mutations_of(
        "probe/placing.py",
        "test_edit_errors.py",
        ("edits: the number of steps is not compared", "if held is not None and held != count:", "if False:"),
        ("edits: the batch is not compared", "    edit.fit(batch, rows)\n", ""),
    ),
    *mutations_of(
        "probe/placing.py",
        "test_edit_gradients.py",
        (
            "edits: where nothing changes nothing was set",
            "own[where] = True",
            "own[where] = changed[where] != value[where]",
        ),
    ),
    *mutations_of(
        "probe/placing.py",
        "test_packed.py",
        (
            "edits: a negative step from the longest row's end",
            "steps < 0, steps + lengths[rows], steps",
            "steps < 0, steps + time, steps",
        ),
        (
            "edits: the padding is a step",
            "valid = (steps >= 0) & (steps < lengths[rows])",
            "valid = (steps >= 0) & (steps < time)",
        ),
        (
            "edits: a step that a row lacks is silent",
            "if edit.site.steps is not None and not bool(valid.all()):",
            "if False:",
        ),
        (
            "edits: a reverse row begins at the longest row's end",
            "own = own_steps(time, layer, lengths)",
            "own = own_steps(time, layer, torch.full_like(lengths, time))",
        ),
        ("edits: one step of a row twice", "if len(which.unique()) != len(which):", "if False:"),
    ),
    *mutations_of(
        "probe/placing.py",
        "test_cells_in_loops.py",
        ("edits: a cell takes the first step's values", "else edit.site.steps.index(step)", "else 0"),
        (
            "edits: a cell beyond the source's steps",
            "edit.steps_held is not None and position >= edit.steps_held",
            "False",
        ),
    ),
    *mutations_of(
        "probe/interventions.py",
        "test_edits.py",
        ("edits: call ignored", "return site.call in (None, number) and", "return True and"),
        ("edits: calls not counted", "counts[layer.name] = number + 1", "counts[layer.name] = number"),
        ("edits: outer edits forgotten", "together = active + (inner.edits if inner else ())", "together = active"),
    ),
    *mutations_of(
        "probe/interventions.py",
        "test_edit_errors.py",
        (
            "edits: hook not removed",
            "stack.callback(module.register_forward_hook(hook, with_kwargs=True, prepend=True).remove)",
            "module.register_forward_hook(hook, with_kwargs=True, prepend=True)",
        ),
        (
            "edits: the layers are found when the model runs",
            "    placed = place_in_model(model, edits)\n",
            "    placed = place_in_model(model, edits[:1])\n",
        ),
    ),
    *mutations_of(
        "probe/interventions.py",
        "test_edit_gradients.py",
        ("edits: calls numbered over all forward passes", "            counts.clear()\n", ""),
        ("edits: an edit that never happened is silent", "(edit.site.call or 0) >= number:", "False:"),
    ),
    *mutations_of(
        "probe/interventions.py",
        "test_watch.py",
        (
            "edits: hooks around the context see the natural run",
            "register_forward_hook(hook, with_kwargs=True, prepend=True)",
            "register_forward_hook(hook, with_kwargs=True)",
        ),
    ),
    *mutations_of(
        "probe/interventions.py",
        "test_left_as_found.py",
        (
            "edits: masks of an edited run are not the run's",
            "output, states.get(module))",
            "output, torch.get_rng_state())",
        ),
    ),
    *mutations_of(
        "probe/interventions.py",
        "test_traps.py",
        ("edits: a compiled model runs as it was compiled", 'if "torch._dynamo" not in sys.modules:', "if True:"),
    ),
    *mutations_of(
        "probe/interventions.py",
        "test_cells_in_loops.py",
        (
            "edits: nested edits from the edited run",
            "natural = inner.natural if inner else open_call",
            "natural = inner.changed if inner else open_call",
        ),
        ("edits: a cell's steps ignored", "site.steps is None or step in site.steps)", "True)"),
        ("edits: a cell's missing step is silent", "            if steps and missing:\n", "            if False:\n"),
        ("edits: a cell's last step is known", "any(step < 0 for step in edit.site.steps or ())", "False"),
        (
            "edits: an edited state starts a sequence",
            "        if sequences is not None:\n            sequences.replace(",
            "        if False:\n            sequences.replace(",
        ),
    ),
    *mutations_of(
        "probe/sequences.py",
        "test_cells_in_loops.py",
        (
            "sequences: a zero state continues",
            "if not any(bool(value.any()) for value in state.values()):",
            "if False:",
        ),
        (
            "sequences: a state is known by identity only",
            "if all(_same(value, self._last[number][signal]) for",
            "if all(False for",
        ),
        ("sequences: a zero output is lost", "if all(value is self._last[number][signal] for", "if all(False for"),
        (
            "sequences: nested contexts count twice",
            "if self._current is not None and self._current[0] is output:",
            "if False:",
        ),
        ("sequences: an inner pass starts anew", "if all(one is user for one in self._passes):", "if True:"),
        ("sequences: passes never end", "[one for one in self._passes if one is not user]", "self._passes"),
        ("sequences: kept when nobody follows", "if not sequences.users:", "if False:"),
    ),
    *mutations_of(
        "probe/edit_files.py",
        "test_edit_files.py",
        ("edit files: hash not compared", "if digest_of(values) != digest:", "if False:"),
        ("edit files: large arrays inline", "if path is None and size > INLINE:", "if False:"),
        ("edit files: a function is saved without it", "if isinstance(edit, FunctionEdit):", "if False:"),
        ("edit files: another format is read", 'written.get("format") != _FORMAT', "False"),
        ("edit files: shape lost", 'flat.reshape(written["shape"])', "flat"),
        ("edit files: call lost", 'steps, rows, written["call"])', "steps, rows, None)"),
        ("edit files: tuples become lists", "return tuple(written)", "return written"),
    ),
)
