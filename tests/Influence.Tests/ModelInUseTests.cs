using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests;

/// <summary>One call at a time on a model.</summary>
public class ModelInUseTests
{
    [Fact]
    public void CallsWithinACallShareItsClaim()
    {
        using var model = nn.Identity();
        using (ModelInUse.Claim(model))
        {
            using (ModelInUse.Claim(model)) { }

            Assert.Contains("on another thread", Refused(() => OnAnotherThread(() => ModelInUse.Claim(model))), StringComparison.Ordinal);
        }

        OnAnotherThread(() => ModelInUse.Claim(model).Dispose());
        using var again = ModelInUse.Claim(model);
    }

    [Fact]
    public void TheCallersCodeMayUseAnotherModelWithinACall()
    {
        using var model = nn.Identity();
        using var other = nn.Identity();
        using var claim = ModelInUse.Claim(model);
        using (ModelInUse.CallingBack("the loss"))
        {
            using (ModelInUse.Claim(other))
            {
                // Within the other call the library's own calls share its claim.
                using var shared = ModelInUse.Claim(other);
            }

            Assert.Contains("the loss of that call began this one", Refused(() => ModelInUse.Claim(model)), StringComparison.Ordinal);
        }

        using var after = ModelInUse.Claim(model);
    }

    /// <summary>Two models around one layer are one to libtorch: the layer is hooked and frozen for both.</summary>
    [Fact]
    public void ModelsThatShareALayerAreInUseTogether()
    {
        using var shared = nn.Linear(2, 2);
        using var body = nn.Sequential(("shared", shared));
        using var one = nn.Sequential(("body", body), ("head", nn.Linear(2, 2)));
        using var other = nn.Sequential(("shared", shared), ("own", nn.Linear(2, 2)));
        using var apart = nn.Sequential(("own", nn.Linear(2, 2)));
        using (ModelInUse.Claim(one))
        {
            Assert.Contains("shares layers", Refused(() => OnAnotherThread(() => ModelInUse.Claim(other))), StringComparison.Ordinal);
            Assert.Contains("on another thread", Refused(() => OnAnotherThread(() => ModelInUse.Claim(shared))), StringComparison.Ordinal);
            OnAnotherThread(() => ModelInUse.Claim(apart).Dispose());
            using (ModelInUse.Claim(other))
            {
                // The library's own calls on this thread may use both.
            }

            using var callback = ModelInUse.CallingBack("the loss");
            Assert.Contains("the loss of that call began this one", Refused(() => ModelInUse.Claim(other)), StringComparison.Ordinal);
        }

        OnAnotherThread(() => ModelInUse.Claim(other).Dispose());
    }

    [Fact]
    public void ARefusedClaimLeavesTheOtherAsItWas()
    {
        using var model = nn.Identity();
        var claim = ModelInUse.Claim(model);
        Refused(() => OnAnotherThread(() => ModelInUse.Claim(model)));
        claim.Dispose();
        claim.Dispose();
        OnAnotherThread(() => ModelInUse.Claim(model).Dispose());
    }

    private static string Refused(Action claim) => Assert.Throws<InfluenceException>(claim).Message;

    private static void OnAnotherThread(Action action)
    {
        InfluenceException? thrown = null;
        var thread = new Thread(() =>
        {
            try
            {
                action();
            }
            catch (InfluenceException exception)
            {
                thrown = exception;
            }
        });
        thread.Start();
        thread.Join();
        if (thrown is not null)
        {
            throw thrown;
        }
    }
}
