namespace Influence.Benchmarks.Tuning;

/// <summary>A way to start the process: environment variables that libtorch's libraries and the C heap read when they are loaded.</summary>
/// <param name="Name">Its name in the table.</param>
/// <param name="Environment">The variables, in place of what the parent has.</param>
internal sealed record Setting(string Name, IReadOnlyDictionary<string, string> Environment)
{
    public const string Default = "default";

    /// <summary>Every variable that some setting sets: a child starts without those that are not its own.</summary>
    public static IReadOnlyList<string> Variables => [.. All.SelectMany(setting => setting.Environment.Keys).Distinct()];

    public static IReadOnlyList<Setting> All { get; } =
    [
        Of(Default),
        Of(
            "memory kept (GLIBC_TUNABLES thresholds)",
            (
                "GLIBC_TUNABLES",
                "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296:glibc.malloc.top_pad=67108864"
            )
        ),
        Of(
            "memory kept (MALLOC_ thresholds)",
            ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
            ("MALLOC_TRIM_THRESHOLD_", "4294967296"),
            ("MALLOC_TOP_PAD_", "67108864")
        ),
        Of("huge pages (GLIBC_TUNABLES hugetlb=1)", ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")),
        Of("jemalloc preloaded", ("LD_PRELOAD", "libjemalloc.so.2")),
        Of(
            "jemalloc, memory kept",
            ("LD_PRELOAD", "libjemalloc.so.2"),
            ("MALLOC_CONF", "dirty_decay_ms:-1,muzzy_decay_ms:-1,oversize_threshold:0")
        ),
        Of("OMP_WAIT_POLICY=passive", ("OMP_WAIT_POLICY", "passive")),
        Of("OMP_WAIT_POLICY=active", ("OMP_WAIT_POLICY", "active")),
        Of("GOMP_SPINCOUNT=10000", ("GOMP_SPINCOUNT", "10000")),
        Of("OMP_PROC_BIND=true", ("OMP_PROC_BIND", "true")),
        Of("one thread (OMP_NUM_THREADS=1)", ("OMP_NUM_THREADS", "1")),
        Of("workstation GC, not concurrent (DOTNET_gcConcurrent=0)", ("DOTNET_gcConcurrent", "0")),
        Of("no tiering (DOTNET_TieredCompilation=0)", ("DOTNET_TieredCompilation", "0")),
    ];

    private static Setting Of(string name, params (string Variable, string Value)[] variables) =>
        new(name, variables.ToDictionary(v => v.Variable, v => v.Value));
}
