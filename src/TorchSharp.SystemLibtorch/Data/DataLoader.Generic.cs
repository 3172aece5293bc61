using System.Collections;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>Batches of a dataset, in the sampler's order.</summary>
public partial class DataLoader<T, S> : IEnumerable<S>, IDisposable
{
    public DataLoader(
        utils.data.Dataset<T> dataset,
        int batchSize,
        Func<IEnumerable<T>, Device, S> collate_fn,
        IEnumerable<long> shuffler,
        Device? device = null,
        int num_worker = 1,
        bool drop_last = false,
        bool disposeBatch = true,
        bool disposeDataset = true)
    {
        this.dataset = dataset;
        this.collate_fn = collate_fn;
        this.drop_last = drop_last;
        batch_size = batchSize;
        sampler = shuffler;
        num_workers = Math.Max(num_worker, 1);
        Device = device ?? CPU;
        DisposeBatch = disposeBatch;
        DisposeDataset = disposeDataset;
    }

    public DataLoader(
        utils.data.Dataset<T> dataset,
        int batchSize,
        Func<IEnumerable<T>, Device, S> collate_fn,
        bool shuffle = false,
        Device? device = null,
        int? seed = null,
        int num_worker = 1,
        bool drop_last = false,
        bool disposeBatch = true,
        bool disposeDataset = true)
        : this(
            dataset,
            batchSize,
            collate_fn,
            shuffle ? new FisherYatesShuffler(dataset.Count, seed) : InOrder(dataset.Count),
            device,
            num_worker,
            drop_last,
            disposeBatch,
            disposeDataset)
    {
    }

    public utils.data.Dataset<T> dataset { get; }

    public int batch_size { get; }

    public bool drop_last { get; }

    public IEnumerable<long> sampler { get; }

    /// <summary>What was asked for. Examples are fetched one after the other all the same.</summary>
    public int num_workers { get; }

    public Func<IEnumerable<T>, Device, S> collate_fn { get; }

    public Device Device { get; }

    public bool DisposeBatch { get; }

    public bool DisposeDataset { get; }

    /// <summary>The number of batches.</summary>
    public long Count => drop_last ? dataset.Count / batch_size : ((dataset.Count - 1) / batch_size) + 1;

    public IEnumerator<S> GetEnumerator() => new BatchEnumerator(this);

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Makes the batch of these examples in the current dispose scope.</summary>
    internal virtual S Fetch(List<long> indices)
    {
        // The scope takes what GetTensor makes; tensors that the dataset keeps are not in it and survive.
        using var examples = NewDisposeScope();
        var items = indices.ConvertAll(dataset.GetTensor);
        using var made = NewDisposeScope();
        var batch = collate_fn(items, Device);
        made.MoveToOther(examples.OuterScope, made.DisposablesView);
        return batch;
    }

    protected virtual void Dispose(bool disposing)
    {
        if (disposing && DisposeDataset)
        {
            dataset.Dispose();
        }
    }

    private static IEnumerable<long> InOrder(long count)
    {
        for (long i = 0; i < count; i++)
        {
            yield return i;
        }
    }
}
