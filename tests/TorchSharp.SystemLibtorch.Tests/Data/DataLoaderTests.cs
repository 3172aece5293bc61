using TorchSharp.SystemLibtorch.Tests.Modules;
using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Data;

public class DataLoaderTests
{
    [Fact]
    public void Batches_come_in_order_with_a_shorter_last_one()
    {
        using var loader = utils.data.DataLoader(new Squares(5), 2);
        var seen = new List<float>();
        var sizes = new List<long>();
        foreach (var batch in loader)
        {
            Assert.Equal(["x", "y"], batch.Keys);
            sizes.Add(batch["x"].shape[0]);
            seen.AddRange(batch["y"].Floats());
        }

        Assert.Equal([2, 2, 1], sizes);
        Assert.Equal([0, 1, 4, 9, 16], seen);
        Assert.Equal(3, loader.Count);
    }

    [Fact]
    public void Drop_last_leaves_the_rest_out()
    {
        using var loader = utils.data.DataLoader(new Squares(5), 2, drop_last: true);

        Assert.Equal(2, loader.Count);
        Assert.Equal(2, loader.ToList().Count);
    }

    [Fact]
    public void A_batch_is_disposed_at_the_next_step()
    {
        using var loader = utils.data.DataLoader(new Squares(4), 2);
        var batches = new List<Tensor>();
        foreach (var batch in loader)
        {
            Assert.False(batch["x"].IsInvalid);
            Assert.All(batches, earlier => Assert.True(earlier.IsInvalid));
            batches.Add(batch["x"]);
        }

        Assert.All(batches, earlier => Assert.True(earlier.IsInvalid));
    }

    [Fact]
    public void Batches_are_kept_when_asked_for_and_no_scope_of_the_caller_takes_them()
    {
        using var loader = utils.data.DataLoader(new Squares(4), 2, disposeBatch: false);
        List<Tensor> batches;
        using (NewDisposeScope())
        {
            batches = loader.Select(batch => batch["x"]).ToList();
        }

        Assert.All(batches, batch => Assert.False(batch.IsInvalid));
        batches.ForEach(batch => batch.Dispose());
    }

    [Fact]
    public void A_seed_shuffles_the_same_way_each_time()
    {
        using var loader = utils.data.DataLoader(new Squares(100), 7, shuffle: true, seed: 4);
        using var other = utils.data.DataLoader(new Squares(100), 7, shuffle: true, seed: 5);

        var order = Order(loader);

        Assert.Equal(order, Order(loader));
        Assert.NotEqual(order, Order(other));
        Assert.Equal(Enumerable.Range(0, 100).Select(i => (float)i), order.Order());
        Assert.NotEqual(order.Order(), order);
    }

    [Fact]
    public void Without_a_seed_each_epoch_has_its_own_order()
    {
        using var loader = utils.data.DataLoader(new Squares(50), 50, shuffle: true);

        Assert.NotEqual(Order(loader), Order(loader));
    }

    [Fact]
    public void A_given_order_is_followed()
    {
        using var loader = utils.data.DataLoader(new Squares(5), 2, new long[] { 3, 1, 2 });

        Assert.Equal([3, 1, 2], Order(loader));
    }

    [Fact]
    public void A_tensor_dataset_yields_lists_and_outlives_the_originals()
    {
        using var x = arange(6, dtype: ScalarType.Float32).view(3, 2);
        using var y = tensor(new long[] { 7, 8, 9 });
        var dataset = utils.data.TensorDataset(x, y);
        x.Dispose();

        using var loader = utils.data.DataLoader(dataset, 2);
        var batches = loader
            .Select(batch => (batch.Count, batch[0].Floats(), batch[1].data<long>().ToArray()))
            .ToList();

        Assert.Equal(3, dataset.Count);
        Assert.Equal((2, 2), (batches.Count, batches[0].Count));
        Assert.Equal([0, 1, 2, 3], batches[0].Item2);
        Assert.Equal([9L], batches[1].Item3);
        using var other = zeros(2);
        Assert.Throws<ArgumentException>(() => utils.data.TensorDataset(y, other));
    }

    [Fact]
    public void Examples_are_freed_and_what_the_dataset_keeps_is_not()
    {
        var dataset = new Squares(4);
        using var loader = utils.data.DataLoader(dataset, 2, disposeDataset: false);
        foreach (var batch in loader)
        {
            Assert.All(dataset.Made, tensor => Assert.True(tensor.IsInvalid));
        }

        Assert.False(dataset.Kept.IsInvalid);
        dataset.Dispose();
    }

    [Fact]
    public void A_loader_leaves_no_tensor_behind()
    {
        using var dictionaries = utils.data.DataLoader(new Squares(5), 2);
        using var lists = utils.data.DataLoader(new Rows(), 2);
        using var x = rand(5, 3);
        using var tensors = utils.data.DataLoader(utils.data.TensorDataset(x), 2);

        // What other tests left to the finaliser must not go between the two counts.
        Tensors.FinaliserTests.Collect();
        var before = Tensor.TotalCount;

        foreach (var _ in dictionaries)
        {
        }

        foreach (var _ in lists)
        {
        }

        foreach (var batch in tensors)
        {
            Assert.Equal(3, batch[0].shape[1]);
        }

        Assert.Equal(before, Tensor.TotalCount);
    }

    [Fact]
    public void Lists_of_tensors_are_stacked_part_by_part()
    {
        using var loader = utils.data.DataLoader(new Rows(), 2, new long[] { 2, 0 });

        foreach (var batch in loader)
        {
            Assert.Equal(2, batch.Count);
            Values.Equal([2, 2, 0, 0], batch[0]);
            Values.Equal([2, 0], batch[1]);
        }
    }

    [Fact]
    public void Any_type_of_batch_can_be_collated()
    {
        using var loader = new TorchSharp.Modules.DataLoader<Dictionary<string, Tensor>, int>(
            new Squares(5), 2, (examples, _) => examples.Count());

        Assert.Equal([2, 2, 1], loader);
    }

    private static List<float> Order(IEnumerable<Dictionary<string, Tensor>> loader)
        => loader.SelectMany(batch => batch["x"].Floats()).ToList();

    private sealed class Rows : utils.data.IterableDataset
    {
        public override long Count => 3;

        public override IList<Tensor> GetTensor(long index) => [full(2, (float)index), tensor((float)index)];
    }

    private sealed class Squares(int count) : utils.data.Dataset
    {
        public Tensor Kept { get; } = arange(count, dtype: ScalarType.Float32);

        public List<Tensor> Made { get; } = [];

        public override long Count => count;

        public override Dictionary<string, Tensor> GetTensor(long index)
        {
            var x = Kept[index];
            var y = x.square();
            Made.Add(x);
            Made.Add(y);
            return new() { ["x"] = x, ["y"] = y };
        }

        protected override void Dispose(bool disposing)
        {
            Kept.Dispose();
            base.Dispose(disposing);
        }
    }
}
