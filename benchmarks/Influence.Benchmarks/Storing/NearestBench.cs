using System.Globalization;
using Cloud.Unum.USearch;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Reporting;
using Influence.Benchmarks.Workloads;
using Influence.Stores;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Storing;

/// <summary>
/// Approximate search (USearch, a graph of neighbours) over a store's rows at unit length, beside a scan of all of them: how many of the
/// true neighbours it finds, and what it takes.
/// </summary>
internal static class NearestBench
{
    private static readonly int[] s_kept = [10, 100];
    private static readonly int[] s_expansions = [32, 128, 512];

    public static int Run(Options options, Device device)
    {
        set_num_threads(1);
        var (train, side) = (options.Quick ? 5_000 : 30_000, 16);
        using var workload = WorkloadCatalog.Create("mlp", new WorkloadSize(train, 100), ScalarType.Float32, device);
        Train(workload);
        var folder = Directory.CreateTempSubdirectory("influence-nearest");
        try
        {
            var store = GradientStore.Write(
                workload.Task,
                workload.TrainExamples,
                new GradientProjection { Dimension = side },
                Path.Combine(folder.FullName, "store")
            );
            using var asked = store.ProjectQueries(workload.Task, workload.QueryExamples);
            using var queries = Unit(asked);
            var (found, scan) = (new long[queries.shape[0]][], 0.0);
            scan = ThreadClock.Time(() => found = Scan(store, queries));
            var table = new TextTable([
                "rows kept as",
                "looks at",
                .. s_kept.Select(k => $"recall of {k}"),
                "ms a query",
                "scan, ms a query",
                "s to build",
                "MB",
            ]);
            foreach (var kind in new[] { ScalarKind.Float32, ScalarKind.Float16, ScalarKind.Int8 })
            {
                foreach (var expansion in s_expansions)
                {
                    AddRow(table, store, queries, found, scan, kind, expansion);
                }
            }

            var count = queries.shape[0];
            var about = string.Create(
                CultureInfo.InvariantCulture,
                $"""
                {workload.Title}, after an epoch of training; a store of {side} a side, {store.Width:N0} numbers an example, {count:N0} queries.
                Recall: the share of a query's true nearest by cosine (a scan of all rows) that USearch finds, mean over queries.
                "Looks at" is its expansion at search; 16 links a row, expansion 128 when the index is built. Milliseconds and
                seconds are of the processor, on one thread; the scan reads all rows once for all queries together, which is its
                advantage.
                """
            );
            new MarkdownPage(options, device).Write("nearest", "Approximate search over a gradient store", about, table.ToString());
            return 0;
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static void AddRow(
        TextTable table,
        GradientStore store,
        Tensor queries,
        long[][] found,
        double scan,
        ScalarKind kind,
        int expansion
    )
    {
        using var index = new USearchIndex(MetricKind.Cos, kind, (ulong)store.Width, 16, 128, (ulong)expansion);
        var building = ThreadClock.Time(() =>
            store.ReadRows(
                (ids, rows) =>
                {
                    var numbers = Unit(rows).data<float>().ToArray();
                    for (var i = 0; i < ids.Count; i++)
                    {
                        index.Add((ulong)ids[i], numbers[(i * (int)store.Width)..((i + 1) * (int)store.Width)]);
                    }
                }
            )
        );
        var asked = Enumerable.Range(0, (int)queries.shape[0]).Select(q => queries[q].data<float>().ToArray()).ToList();
        var near = new List<ulong[]>();
        var searching = ThreadClock.Time(() =>
        {
            foreach (var query in asked)
            {
                index.Search(query, s_kept[^1], out ulong[] keys, out float[] _);
                near.Add(keys);
            }
        });
        var file = Path.GetTempFileName();
        index.Save(file);
        var bytes = new FileInfo(file).Length;
        File.Delete(file);
        table.Add([
            kind.ToString(),
            expansion.ToString(CultureInfo.InvariantCulture),
            .. s_kept.Select(k =>
                near.Select((keys, q) => keys.Take(k).Count(key => found[q].AsSpan(0, k).Contains((long)key)) / (double)k)
                    .Average()
                    .ToString("F3", CultureInfo.InvariantCulture)
            ),
            (searching * 1000 / asked.Count).ToString("F2", CultureInfo.InvariantCulture),
            (scan * 1000 / asked.Count).ToString("F2", CultureInfo.InvariantCulture),
            building.ToString("F1", CultureInfo.InvariantCulture),
            (bytes / 1e6).ToString("F0", CultureInfo.InvariantCulture),
        ]);
        Console.Error.WriteLine($"{kind}, {expansion}");
    }

    /// <summary>The ids of each query's nearest, in order.</summary>
    private static long[][] Scan(GradientStore store, Tensor queries)
    {
        using var scope = NewDisposeScope();
        var (ids, products) = (new List<long>(), new List<Tensor>());
        store.ReadRows(
            (some, rows) =>
            {
                ids.AddRange(some);
                products.Add(queries.mm(Unit(rows).t()).DetachFromDisposeScope()); // [Q, n]
            }
        );
        var all = cat([.. products], 1); // [Q, N]
        products.ForEach(product => product.Dispose());
        var best = all.topk(s_kept[^1], 1).indexes.data<long>().ToArray();
        return [.. best.Chunk(s_kept[^1]).Select(row => row.Select(i => ids[(int)i]).ToArray())];
    }

    private static Tensor Unit(Tensor rows) => rows / rows.norm(1, keepdim: true, p: 2).clamp_min(1e-30);

    private static void Train(Workload workload)
    {
        using var optimizer = optim.SGD(workload.Model.parameters(), 0.1);
        foreach (var batch in workload.TrainExamples.Batches())
        {
            using var scope = NewDisposeScope();
            optimizer.zero_grad();
            workload.MeanLoss(batch["x"], batch["y"]).backward();
            optimizer.step();
        }
    }
}
