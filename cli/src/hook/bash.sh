# hearth hook bash: 3.2 and later. Everything here is run in somebody's shell, at each prompt: commands are
# written so that no alias stands for them, variables so that they may be unset (set -u), and nothing fails
# outside of a condition (set -e).
case $- in
*i*)
    : "${__hearth_dir=}" "${__hearth_note=}" "${__hearth_said=}" "${__hearth_trust=}" "${__hearth_had=}"
    # The same process, which was another shell before (exec): it may hold something.
    if [[ ${HEARTH_HOOK-} == "$$" && -z $__hearth_dir ]]; then __hearth_dir=/dev/null; fi

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

    __hearth_look() {
        \builtin local at has
        __hearth_find
        __hearth_has
        if [[ -s $__hearth_said ]]; then
            : something is to be said
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
        \builtin local __hearth_do=
        \builtin eval "$("$__hearth_exe" hook bash --look --pid "$$" "--at=$at" </dev/null)"
        __hearth_has
        __hearth_had=$has
        if [[ $__hearth_do == keep ]]; then
            \builtin export HEARTH_HOOK="$$"
            __hearth_keep
        fi
        \builtin return 0
    }

    __hearth_keep() {
        \builtin local bang="${!-}" job=
        # Its output is nothing, and the shell's word about a job goes there too.
        { "$__hearth_exe" hook bash --keep --pid "$$" </dev/null & } >/dev/null 2>&1
        \builtin disown "$!" >/dev/null 2>&1
        # `$!` is whoever reads this prompt's: they may be about to `kill` it. Nothing sets it but starting a
        # job, and `bg` of one that runs, which does no more. It names a job by its first process: that of a
        # pipeline, whose last one `$!` was, is lost.
        if [[ -n $bang ]] && \builtin jobs -x __hearth_job %+ && [[ $job == "$bang" && -n $(\builtin jobs -r %+) ]]; then
            \builtin bg %+ || \builtin :
        fi >/dev/null 2>&1
    }

    # What `jobs -x` runs must not fail: to it a condition is none (set -e).
    __hearth_job() {
        job="$1"
    }

    # Who comes after us sees the status of what was typed.
    __hearth_prompt() {
        \builtin local __hearth_status="$?"
        __hearth_look || \builtin :
        \builtin return "$__hearth_status"
    }

    # In a list, for that status is no failure of ours, to end the shell (set -e) or to be told by an ERR trap.
    case "${PROMPT_COMMAND[*]-}" in
    *__hearth_prompt*) ;;
    *) PROMPT_COMMAND="${PROMPT_COMMAND:+$PROMPT_COMMAND$'\n'}__hearth_prompt && \builtin :" ;;
    esac
    ;;
esac
