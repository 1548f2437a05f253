# shellcheck shell=bash
# Shared by the programs in script/: where things are, how they speak, how a step is run and counted. Sourced, never run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
logs=build/log
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$root/tests/lsan.supp:print_suppressions=0} # of what is built with the preset asan

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' dim=$'\e[2m' plain=$'\e[0m'
else
    bold='' red='' green='' dim='' plain=''
fi

say() { printf '%s\n' "$*"; }
title() { printf '%s%s%s\n' "$bold" "$*" "$plain"; }
die() {
    printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2
    exit 1
}

# The Node that bootstrap put into .tools/ comes before an older one of the system; npm runs under the system's own, which knows the
# system's certificates.
export system_path=$PATH
if [[ -x .tools/node/bin/node ]]; then
    PATH=$root/.tools/node/bin:$PATH
fi

system_npm() { PATH=$system_path npm "$@"; }

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "installing packages needs root: run script/bootstrap as root, or install sudo"
    fi
}

# build PRESET [TARGET...]: silent while it works, the end of its log when it doesn't.
build() {
    local preset=$1 log=$logs/build-$1.log
    shift
    mkdir -p "$logs"
    local start=$SECONDS targets=()
    (($# == 0)) || targets=(--target "$@")
    if { [[ -f build/$preset/build.ninja ]] || cmake --preset "$preset"; } >"$log" 2>&1 &&
        cmake --build --preset "$preset" "${targets[@]}" >>"$log" 2>&1; then
        printf '  %sok%s    build %s %s(%d s)%s\n' "$green" "$plain" "$preset" "$dim" $((SECONDS - start)) "$plain"
        return 0
    fi
    printf '  %sFAIL%s  build %s\n' "$red" "$plain" "$preset"
    grep -E -m 20 'error|FAILED' "$log" | sed 's/^/        /' || tail -n 20 "$log" | sed 's/^/        /'
    say "        the whole log: $log"
    return 1
}

passed=0 failed=0

# step NAME COUNTER COMMAND...: runs a command into its own log and adds what COUNTER reads from that log to `passed` and `failed`.
# COUNTER is a function that is given the log and the exit status and prints "PASSED FAILED".
step() {
    local name=$1 counter=$2 log start=$SECONDS status=0 p f
    log=$logs/${name// /-}.log
    shift 2
    mkdir -p "$logs"
    "$@" >"$log" 2>&1 || status=$?
    read -r p f < <("$counter" "$log" "$status")
    # A command that fails without a failed test (a crash, a build that broke) is a failure by itself.
    ((status == 0 || f > 0)) || f=1
    passed=$((passed + p)) failed=$((failed + f))
    if ((f == 0)); then
        printf '  %sok%s    %s: %d passed %s(%d s)%s\n' "$green" "$plain" "$name" "$p" "$dim" $((SECONDS - start)) "$plain"
        sed -n 's/^# again /        passed when run again, twice: /p' "$log"
        return 0
    fi
    printf '  %sFAIL%s  %s: %d passed, %d failed %s(%d s)%s\n' "$red" "$plain" "$name" "$p" "$f" "$dim" $((SECONDS - start)) "$plain"
    why "$log" | sed 's/^/        /'
    say "        the whole log: $log"
}

# What went wrong, in at most 40 lines: who reads only the summary, of a machine that is gone, must be able to tell what failed and where.
# Of node's tests the name, the place and the message; of all else the lines that speak of failures, or the end of the log.
why() { # why LOG
    local said
    said=$(awk '
        /^ *not ok / { print; told = 1; message = 0; next }
        told && /^ *(location|failureType): / { print; next }
        told && /^ *error: / { print; message = 12; next }
        /^ *(code|name|stack|\.\.\.)(: |$)/ { message = 0; if (/\.\.\.$/) told = 0 }
        message > 0 && /[^ ]/ { print; message-- }
        !told && /\*\*\*Failed|\*\*\*Exception|\*\*\*Timeout|\[  FAILED  \] [^0-9]|^ERROR|ERROR: |runtime error|error:/' "$1")
    if [[ -n $said ]]; then
        head -n 40 <<<"$said"
    else
        tail -n 12 "$1"
    fi
}

# Counters. One command, one test:
count_command() {
    if (($2 == 0)); then echo 1 0; else echo 0 1; fi
}

# cmocka programs run by ctest --verbose: their own tests are counted; a program that died counts as one failure, and what was run again
# counts by that.
count_ctest() {
    awk '/^# run again/ { p += f > died ? f : died; f = died = 0; again = 1 }
        match($0, /\[  (PASSED|FAILED)  \] [0-9]+ test/) {
            n = substr($0, RSTART + 13) + 0
            if (/PASSED/) p += again ? 0 : n; else f += n
        }
        /tests failed out of/ { for (i = 1; i < NF; i++) if ($i == "tests" && $(i + 1) == "failed") died = $(i - 1) }
        END { if (died > f) f = died; print p - (again ? f : 0), f + 0 }' "$1"
}

# node --test with the TAP reporter; skipped tests are not counted as passed, and a test that was run again counts by those runs.
count_node() {
    awk '/^# run again/ && !again++ { p += failed; f -= failed }
        /^# again / { failed++ }
        /^# pass / && !again { p += $3 }
        /^# (fail|cancelled) / { f += $3; if (again) p -= $3 }
        END { print p + 0, f + 0 }' "$1"
}

# The last line of a test run, and its exit status.
finish() {
    if ((failed == 0)); then
        printf '%s%d passed, %d failed%s\n' "$green" "$passed" "$failed" "$plain"
    else
        printf '%s%d passed, %d failed%s\n' "$red" "$passed" "$failed" "$plain"
        exit 1
    fi
}

# Without its builds a test run is over.
build_all() {
    local preset
    for preset in "$@"; do
        build "$preset" || {
            failed=$((failed + 1))
            finish
        }
    done
}

cores() { nproc; }

# What test programs are run by, such as (setarch -R); usually nothing.
under=()

# second_chance JUDGE AGAIN COMMAND...: runs COMMAND. Where it fails, and by little that a machine which stood still may explain, its failures
# run twice more, alone, and the summary tells. JUDGE reads the output and decides: it prints what may run again, a line each, to be appended to
# AGAIN, and to standard error a line about each for the summary.
second_chance() {
    local judge again said status=0 names
    read -ra judge <<<"$1"
    read -ra again <<<"$2"
    shift 2
    said=$(mktemp)
    "$@" | tee "$said" || status=$?
    if ((status != 0)) && names=$("${judge[@]}" <"$said"); then
        mapfile -t names <<<"$names"
        for _ in 1 2; do
            echo "# run again"
            status=0
            "${again[@]}" "${names[@]}" || status=$?
            ((status == 0)) || break
        done
    fi
    rm -f "$said"
    return "$status"
}

# ctest_run PRESET LABELS: the C tests of one build. Programs of tests/contract, which have real sockets and clocks, have a second chance; all
# else has to be right at once.
ctest_run() { second_chance ctest_again "ctest_only $1" ctest_of "$1" --label-regex "$2" --parallel "$(cores)"; }
ctest_of() { # ctest_of PRESET OPTION...
    "${under[@]}" ctest --test-dir "build/$1" --verbose --no-tests=error "${@:2}"
}
ctest_only() { # ctest_only PRESET PROGRAM...
    local names
    names=$(IFS='|' && echo "${*:2}")
    ctest_of "$1" --tests-regex "^($names)\$"
}
ctest_again() {
    local said failed
    said=$(cat)
    ! grep -qE 'Sanitizer|runtime error:|Assertion .* failed' <<<"$said" || return 1
    failed=$(sed -nE '/^The following tests FAILED:/,$s/^[[:space:]]+[0-9]+ - ([a-z0-9_]+) \((.*)\).*/\1 \2/p' <<<"$said")
    [[ -n $failed ]] && (($(wc -l <<<"$failed") <= 3)) && ! grep -qvE '^contract_[a-z0-9_]+ Failed$' <<<"$failed" || return 1
    awk '{ print "# again " $1 ": what it said is in the log" }' <<<"$failed" >&2
    cut -d' ' -f1 <<<"$failed"
}

# node_tests FILE...: node's own test runner, twice as many files at a time as there are cores, since they wait most of the time.
node_tests() { second_chance 'node script/again.mjs' 'node_run 1' node_run "${TEST_FILES:-$((2 * $(cores)))}" "$@"; }
node_run() { # node_run FILES_AT_A_TIME FILE...
    "${under[@]}" node --test --test-reporter=tap --test-timeout="${TEST_TIMEOUT_MS:-600000}" --test-force-exit --test-concurrency="$1" "${@:2}"
}
