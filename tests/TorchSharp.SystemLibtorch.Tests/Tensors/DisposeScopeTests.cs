using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Tensors;

public class DisposeScopeTests
{
    [Fact]
    public void A_scope_disposes_what_was_made_in_it()
    {
        Tensor inner;
        using (var scope = NewDisposeScope())
        {
            inner = zeros(1);
            Assert.Equal(1, scope.DisposablesCount);
            Assert.True(scope.Contains(inner));
        }

        Assert.True(inner.IsInvalid);
    }

    [Fact]
    public void Moving_and_detaching_lets_tensors_out()
    {
        Tensor moved, detached, kept;
        using (var outer = NewDisposeScope())
        {
            using (NewDisposeScope())
            {
                moved = zeros(1).MoveToOuterDisposeScope();
                detached = zeros(1).DetachFromDisposeScope();
            }

            Assert.False(moved.IsInvalid);
            Assert.Equal(1, outer.DisposablesCount);
            kept = zeros(1);
            outer.DisposeEverythingBut(kept);
            Assert.True(moved.IsInvalid);
            Assert.False(kept.IsInvalid);
        }

        Assert.True(kept.IsInvalid);
        Assert.False(detached.IsInvalid);
        detached.Dispose();
    }

    [Fact]
    public void A_scope_can_take_tensors_in()
    {
        var outside = zeros(1);
        using (var scope = NewDisposeScope())
        {
            scope.Attach(outside);
            var (a, b) = (zeros(1), zeros(1));
            var (sameA, sameB) = scope.Detach(a, b);
            Assert.Same(a, sameA);
            scope.Attach(sameA, sameB);
            Assert.Equal(3, scope.DisposablesCount);
        }

        Assert.True(outside.IsInvalid);
    }

    [Fact]
    public void Scopes_may_be_disposed_out_of_order()
    {
        var outer = NewDisposeScope();
        var inner = NewDisposeScope();
        outer.Dispose();
        var t = zeros(1);
        Assert.Same(inner, CurrentDisposeScope);
        inner.Dispose();
        Assert.Null(CurrentDisposeScope);
        Assert.True(t.IsInvalid);
        Assert.Throws<ObjectDisposedException>(() => inner.DisposablesCount);
    }

    [Fact]
    public void A_wrapped_expression_leaves_only_its_result()
    {
        using var scope = NewDisposeScope();
        var result = WrappedTensorDisposeScope(() => zeros(2).add(1).mul(3));
        Assert.Equal(1, scope.DisposablesCount);
        Assert.Equal(6, result.sum().ToSingle());
    }

    [Fact]
    public void Statistics_count_by_thread()
    {
        var statistics = DisposeScopeManager.Statistics.TensorStatistics;
        statistics.Reset();
        var outside = zeros(1);
        Assert.Equal(1, statistics.CreatedOutsideScopeCount);
        using (var scope = NewDisposeScope())
        {
            zeros(1).add(1);
            Assert.Equal(2, statistics.CreatedInScopeCount);
            scope.Attach(outside);
            Assert.Equal(1, statistics.AttachedToScopeCount);
            scope.Detach(outside);
            Assert.Equal(1, statistics.DetachedFromScopeCount);
        }

        Assert.Equal(2, statistics.DisposedInScopeCount);
        Assert.Equal(1, statistics.ThreadTotalLiveCount);
        outside.Dispose();
        Assert.Equal(1, statistics.DisposedOutsideScopeCount);
        Assert.Equal(0, DisposeScopeManager.Statistics.ThreadTotalLiveCount);
        var elsewhere = new Thread(() => Assert.Equal(0, DisposeScopeManager.Statistics.CreatedInScopeCount));
        elsewhere.Start();
        elsewhere.Join();
    }

    [Fact]
    public void Failing_operators_leave_nothing_behind()
    {
        // What other tests left to their finalisers would go in the middle of the count.
        FinaliserTests.Collect();
        var before = Tensor.TotalCount;
        using (NewDisposeScope())
        {
            var a = zeros(2, 3);
            Assert.ThrowsAny<Exception>(() => a.mm(a));
        }

        Assert.Equal(before, Tensor.TotalCount);
        Assert.True(Tensor.PeakCount >= before);
    }
}
