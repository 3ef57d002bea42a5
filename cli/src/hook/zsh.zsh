# hearth hook zsh: 5 and later. Everything here is run in somebody's shell, at each prompt: each function
# has zsh's own options to itself, and words are quoted so that no alias stands for them.
if [[ -o interactive ]]; then
    \builtin typeset -g __hearth_dir="${__hearth_dir-}" __hearth_note="${__hearth_note-}" \
        __hearth_said="${__hearth_said-}" __hearth_trust="${__hearth_trust-}" __hearth_had="${__hearth_had-}"
    # The same process, which was another shell before (exec): it may hold something.
    if [[ "${HEARTH_HOOK-}" == "$$" && -z "$__hearth_dir" ]]; then __hearth_dir=/dev/null; fi

    # The nearest directory upward with a hearth.toml, by `..` alone: where the kernel says that we are,
    # through whatever links. Sets `at`; empty: none.
    __hearth_find() {
        at=.
        while [[ ! -e $at/hearth.toml && ! -L $at/hearth.toml ]]; do
            if [[ ! -d $at/.. || $at -ef $at/.. || ${#at} -gt 3000 ]]; then
                at=
                \builtin return 0
            fi
            at=$at/..
        done
    }

    # What else can be told of the files without reading them: whether they are there.
    __hearth_has() {
        has=
        if [[ -e $__hearth_dir/hearth.local.toml || -L $__hearth_dir/hearth.local.toml ]]; then has=local; fi
        if [[ -e $__hearth_trust ]]; then has=$has-trust; fi
    }

    # Zsh itself gives the status of what was typed to whoever comes next; to return it would be a failure, to
    # be told by a ZERR trap.
    __hearth_prompt() {
        \builtin emulate -L zsh
        \builtin setopt no_xtrace no_err_exit no_err_return no_monitor no_notify no_bg_nice
        \builtin local at has __hearth_do=
        __hearth_find
        __hearth_has
        if [[ -s $__hearth_said ]]; then
            :
        elif [[ -z $at ]]; then
            if [[ -z $__hearth_dir ]]; then \builtin return 0; fi
        elif [[ -n $__hearth_dir && $at -ef $__hearth_dir ]]; then
            if [[ -z $__hearth_note ]]; then \builtin return 0; fi
            if [[ $has == "$__hearth_had" && ! $__hearth_dir/hearth.toml -nt $__hearth_note &&
                ! $__hearth_dir/hearth.local.toml -nt $__hearth_note && ! $__hearth_trust -nt $__hearth_note ]]; then
                \builtin return 0
            fi
        fi
        if [[ ! -x $__hearth_exe ]]; then \builtin return 0; fi
        if [[ -n $at ]]; then __hearth_dir=$PWD/$at; else __hearth_dir=; fi
        \builtin eval "$("$__hearth_exe" hook zsh --look --pid "$$" "--at=$at" </dev/null)"
        __hearth_has
        __hearth_had=$has
        if [[ $__hearth_do == keep ]]; then
            \builtin export HEARTH_HOOK="$$"
            # Not by `&`, which would take `$!` from whoever has just started a job.
            \builtin local fd
            \builtin exec {fd}< <("$__hearth_exe" hook zsh --keep --pid "$$" </dev/null 2>/dev/null)
            \builtin exec {fd}<&-
        fi
        \builtin return 0
    }

    () {
        \builtin emulate -L zsh
        \builtin typeset -ga precmd_functions
        if (( ! ${precmd_functions[(Ie)__hearth_prompt]} )); then precmd_functions+=(__hearth_prompt); fi
    }
fi
