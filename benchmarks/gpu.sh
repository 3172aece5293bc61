#!/usr/bin/env bash
# The GPU tests and the benchmark on a machine with an NVIDIA GPU and a PyTorch, but without .NET and without a network.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    cat <<'END'
benchmarks/gpu.sh publish           here: makes artifacts/gpu/influence-gpu.tar.gz, which needs no .NET and holds no libtorch
benchmarks/gpu.sh run [options]     there: holds the machine's PyTorch against what TorchSharp needs of it, runs the GPU tests over
                                    that PyTorch's libraries, then the benchmark

  --device cuda|cuda:N|cpu          cuda unless given
  --tests-only                      without the benchmark
  --only mlp|cnn|decoder            one workload, in both (may be repeated); on a CPU the decoder's tests take half an hour
  --quick, --method tracin|influence|groups|training
                                    passed on to the benchmark

On the machine with the GPU (x86-64 Linux, an NVIDIA driver, a PyTorch 2.10 or newer; no .NET, no compiler, no network):

  tar -xzf influence-gpu.tar.gz
  OUT=results influence-gpu/gpu.sh run --quick

python3 is asked where its torch lies, without importing it; LIBTORCH names another folder (with lib/, or that lib/ itself):
on a machine without a GPU, with --device cpu, any libtorch 2.10 will do. OUT names the folder of the results; without it they go to
results beside this script. In the repository the archive is looked for in artifacts/gpu. Made where libstdc++ is older than GCC 13's
(Debian 12, Ubuntu 22.04), the archive runs on such machines as well.
END
}

fail() {
    printf 'gpu.sh: %s\n' "$*" >&2
    exit 1
}

# --- publish ---------------------------------------------------------------------------------------------------------

readonly most_bytes=$((64 * 1024 * 1024))
readonly fashion_mnist=/usr/share/datasets/fashion-mnist
readonly texts=/usr/share/common-licenses

# The first images and labels are all that the benchmark reads.
carry_fashion_mnist() { # carry_fashion_mnist <folder> <part> <count>
    local part=$2 count=$3
    cut_gzip "$part-images-idx3-ubyte.gz" $((16 + count * 784)) "$1"
    cut_gzip "$part-labels-idx1-ubyte.gz" $((8 + count)) "$1"
}

cut_gzip() { # cut_gzip <file> <bytes> <folder>
    # head leaves before gzip is done, which is no failure.
    (set +o pipefail; gzip -dc "$fashion_mnist/$1" 2> /dev/null | head -c "$2" | gzip -9n > "$3/$1")
}

carry_data() { # carry_data <folder>
    if [ -d "$fashion_mnist" ]; then
        mkdir -p "$1/fashion-mnist"
        carry_fashion_mnist "$1/fashion-mnist" train 5000
        carry_fashion_mnist "$1/fashion-mnist" t10k 500
    fi
    if [ -d "$texts" ]; then
        mkdir -p "$1/text"
        cp -L "$texts"/{Apache,GFDL,GPL,LGPL,MPL}-* "$1/text/"
    fi
}

command_publish() {
    local root out=artifacts/gpu package=influence-gpu bytes
    root=$(dirname "$here")
    cd "$root"
    command -v dotnet > /dev/null || fail "the .NET 10 SDK is needed: https://dotnet.microsoft.com/download"
    rm -rf "$out/$package" "$out/$package.tar.gz"
    mkdir -p "$out/$package"

    # A build tree of its own: the runtime identifier must not change what a plain build has restored.
    dotnet publish benchmarks/Influence.Benchmarks -c Release -r linux-x64 --self-contained --nologo -v quiet \
        -p:LibtorchOfPyTorch=true "-p:ArtifactsPath=$root/$out/build" \
        -p:PublishTrimmed=false -p:PublishSingleFile=false -p:InvariantGlobalization=true \
        -p:DebugType=none -p:DebugSymbols=false -p:GenerateDocumentationFile=false \
        -o "$out/$package/app"
    rm -f "$out/$package"/app/*.pdb "$out/$package"/app/{createdump,libcoreclrtraceptprovider.so}
    carry_data "$out/$package/app/data"
    cp benchmarks/gpu.sh "$out/$package/"

    tar -C "$out" --owner=0 --group=0 --sort=name -czf "$out/$package.tar.gz" "$package"
    bytes=$(stat -c %s "$out/$package.tar.gz")
    [ "$bytes" -lt "$most_bytes" ] || fail "$out/$package.tar.gz takes $bytes bytes, more than $most_bytes"
    echo "$out/$package.tar.gz: $((bytes / 1024 / 1024)) MiB"
}

# --- run -------------------------------------------------------------------------------------------------------------

# Leaves the package's folder in `package`: this folder in the unpacked archive, else where the repository keeps it. An
# archive that is newer than what was unpacked of it is unpacked again.
find_package() {
    if [ -d "$here/app" ]; then
        package=$here
        return
    fi
    local gpu archive
    gpu=$(dirname "$here")/artifacts/gpu
    archive=$gpu/influence-gpu.tar.gz
    package=$gpu/influence-gpu
    if [ -f "$archive" ] && { [ ! -d "$package/app" ] || [ "$archive" -nt "$package/unpacked" ]; }; then
        rm -rf "$package"
        tar -C "$gpu" -xzf "$archive"
        touch "$package/unpacked"
    fi
    [ -d "$package/app" ] || fail "nothing was published: run 'benchmarks/gpu.sh publish' on a machine with the .NET 10 SDK and copy artifacts/gpu/influence-gpu.tar.gz here"
}

# Leaves the folder of libtorch's libraries in `libtorch`, and in `libraries` all folders that it may load from while it runs.
find_libtorch() {
    local folder
    if [ -n "${LIBTORCH:-}" ]; then
        libtorch=$LIBTORCH
        [ ! -d "$libtorch/lib" ] || libtorch=$libtorch/lib
    else
        command -v python3 > /dev/null || fail "there is no python3 to ask for its torch; set LIBTORCH to the folder of libtorch's libraries"
        libtorch=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0] + "/lib")' 2> /dev/null) \
            || fail "python3 has no torch; set LIBTORCH to the folder of libtorch's libraries"
    fi
    [ -d "$libtorch" ] || fail "there is no folder $libtorch"
    libtorch=$(cd "$libtorch" && pwd)

    # A wheel's libtorch finds NVIDIA's wheels beside it by its own search path; what it opens later may not.
    libraries=$libtorch
    for folder in "$(dirname "$(dirname "$libtorch")")"/nvidia/*/lib; do
        [ ! -d "$folder" ] || libraries+=:$folder
    done
}

# Says whether TorchSharp can run over the libraries, in a process of its own, which damaged ones may end.
check_libtorch() { # check_libtorch <device>
    local ended=0
    "$package/app/Influence.Benchmarks" libtorch "$libtorch" "${1%%:*}" || ended=$?
    case $ended in
        0) ;;
        1) fail "TorchSharp cannot run over the libtorch in $libtorch" ;;
        *) fail "looking at the libtorch in $libtorch ended the process (code $ended): it is damaged, or made for another machine" ;;
    esac
}

command_run() {
    local device=cuda tests_only=false only=() options=() package libtorch libraries out tests=0
    while [ $# -gt 0 ]; do
        case "$1" in
            --device | --only | --method)
                [ $# -gt 1 ] || fail "$1 needs a value"
                case "$1" in
                    --device) device=$2 ;;
                    --only) only+=("$1" "$2") ;;
                    --method) options+=("$1" "$2") ;;
                esac
                shift
                ;;
            --tests-only) tests_only=true ;;
            --quick) options+=("$1") ;;
            *) fail "there is no option '$1'; benchmarks/gpu.sh lists them" ;;
        esac
        shift
    done

    find_package
    find_libtorch
    out=${OUT:-$here/results}
    # The check, the GPU tests and the benchmark find the same libraries.
    export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} DOTNET_EnableDiagnostics=0
    echo "== libtorch"
    check_libtorch "$device"
    mkdir -p "$out"
    echo "== GPU tests"
    "$package/app/Influence.Benchmarks" gpu-tests --device "$device" "${only[@]}" 2>&1 | tee "$out/gpu-tests-${device%%:*}.txt" || tests=$?
    [ "$tests" -le 1 ] || fail "the GPU tests could not be run"
    if [ "$tests_only" = false ]; then
        echo "== Benchmark"
        "$package/app/Influence.Benchmarks" bench --device "$device" --output "$out" "${only[@]}" "${options[@]}"
    fi
    [ "$tests" -eq 0 ] || fail "GPU tests failed"
    echo "All done in $SECONDS s"
}

case "${1:-}" in
    publish | run) "command_$1" "${@:2}" ;;
    "" | -h | --help | help) usage ;;
    *) fail "there is no command '$1'; benchmarks/gpu.sh lists them" ;;
esac
