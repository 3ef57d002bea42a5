# hearth hook fish: 3.4 and later. Everything here is run in somebody's shell, at each prompt, by builtins
# alone; `builtin` and `command` keep functions of the same names out.
if builtin status is-interactive
    for name in __hearth_dir __hearth_note __hearth_said __hearth_trust __hearth_had __hearth_do
        builtin set -q $name; or builtin set -g $name ''
    end
    # The same process, which was another shell before (exec): it may hold something.
    if builtin test "$HEARTH_HOOK" = "$fish_pid" -a -z "$__hearth_dir"
        builtin set -g __hearth_dir /dev/null
    end

    # The nearest directory upward with a hearth.toml, by `..` alone: where the kernel says that we are,
    # through whatever links. Prints it; nothing: none.
    function __hearth_find
        builtin set -l at .
        while not builtin test -e $at/hearth.toml -o -L $at/hearth.toml
            if not builtin test -d $at/..
                return
            end
            if builtin test $at -ef $at/.. -o (builtin string length -- $at) -gt 3000
                return
            end
            builtin set at $at/..
        end
        builtin echo $at
    end

    # What else can be told of the files without reading them: whether they are there.
    function __hearth_has
        builtin set -l has ''
        if builtin test -e "$__hearth_dir/hearth.local.toml" -o -L "$__hearth_dir/hearth.local.toml"
            builtin set has local
        end
        if builtin test -e "$__hearth_trust"
            builtin set has $has-trust
        end
        builtin echo "$has"
    end

    function __hearth_prompt --on-event fish_prompt
        builtin set -l at (__hearth_find)
        builtin set -l has (__hearth_has)
        if builtin test -s "$__hearth_said"
            # Something is to be said.
        else if builtin test -z "$at"
            if builtin test -z "$__hearth_dir"
                return
            end
        else if builtin test -n "$__hearth_dir"; and builtin test "$at" -ef "$__hearth_dir"
            if builtin test -z "$__hearth_note"
                return
            end
            if builtin test "$has" = "$__hearth_had"
                and not builtin test "$__hearth_dir/hearth.toml" -nt "$__hearth_note"
                and not builtin test "$__hearth_dir/hearth.local.toml" -nt "$__hearth_note"
                and not builtin test "$__hearth_trust" -nt "$__hearth_note"
                return
            end
        end
        if not builtin test -x "$__hearth_exe"
            return
        end
        if builtin test -n "$at"
            builtin set -g __hearth_dir $PWD/$at
        else
            builtin set -g __hearth_dir ''
        end
        builtin set -g __hearth_do ''
        $__hearth_exe hook fish --look --pid $fish_pid "--at=$at" </dev/null | builtin source
        builtin set -g __hearth_had (__hearth_has)
        if builtin test "$__hearth_do" = keep
            builtin set -gx HEARTH_HOOK $fish_pid
            # Whoever has just started a job has its pid there.
            builtin set -l last $last_pid
            $__hearth_exe hook fish --keep --pid $fish_pid </dev/null >/dev/null 2>&1 &
            builtin disown $last_pid 2>/dev/null
            builtin set -g last_pid $last
        end
    end
end
