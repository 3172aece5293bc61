using Xunit.Abstractions;

namespace TorchSharp.SystemLibtorch.Tests.Surface;

/// <summary>What the binding offers is a part of TorchSharp 0.107's own surface, to the letter.</summary>
public class ApiSurfaceTests(ITestOutputHelper output)
{
    [Fact]
    public void Every_member_of_the_binding_is_one_of_TorchSharp()
    {
        if (FindApiFile() is not { } file)
        {
            output.WriteLine("shared/torchsharp/api-0.107.0.txt was not found above the tests: nothing compared.");
            return;
        }

        var comparer = new SurfaceComparer(File.ReadAllLines(file));
        var surface = SurfaceRenderer.Render(typeof(torch).Assembly).ToList();
        var extra = comparer.Missing(surface).ToList();
        output.WriteLine($"{surface.Count} members compared.");
        Assert.True(extra.Count == 0, $"Not in TorchSharp ({extra.Count}):\n{string.Join('\n', extra.Take(50))}");
    }

    [Fact]
    public void The_comparison_fails_for_what_TorchSharp_has_not()
    {
        string[] reference =
        [
            .. SurfaceRenderer.Render(typeof(Known)).Where(line => !line.Contains("Extra", StringComparison.Ordinal)),
        ];
        var missing = new SurfaceComparer(reference).Missing(SurfaceRenderer.Render(typeof(Known))).ToList();
        Assert.Equal(2, missing.Count);
        Assert.Contains(missing, line => line.EndsWith(".Extra(int a = 1) :: public static void", StringComparison.Ordinal));
        Assert.Contains(missing, line => line.EndsWith(".ExtraValue :: public property long? { get; set; }", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("A.M(int x = 2) :: public void", "A.M(int x = 1) :: public void")]
    [InlineData("A.M(long? x) :: public void", "A.M(long x) :: public void")]
    [InlineData("A.M(int y) :: public void", "A.M(int x) :: public void")]
    [InlineData("A :: public class : B", "A :: public sealed class : B")]
    [InlineData("A :: public class : B, C", "A :: public class : B")]
    public void A_difference_that_binds_callers_is_found(string ours, string theirs) =>
        Assert.Single(new SurfaceComparer([theirs]).Missing([ours]));

    [Theory]
    [InlineData("A.M(string x) :: public void", "A.M(string? x) :: public void")]
    [InlineData("A.M() :: public (int, int)", "A.M() :: public (int, int) /*tuple names: a,b*/")]
    [InlineData("A.M() :: public void", "A.M() :: public void [Obsolete(\"x\", false)]")]
    [InlineData("A :: public class : B", "A :: public class : B, C<D, E>")]
    public void A_difference_that_binds_no_caller_is_not(string ours, string theirs) =>
        Assert.Empty(new SurfaceComparer([theirs]).Missing([ours]));

    private static string? FindApiFile()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var file = Path.Combine(folder.FullName, "shared", "torchsharp", "api-0.107.0.txt");
            if (File.Exists(file))
            {
                return file;
            }
        }

        return null;
    }

    public sealed class Known
    {
        public int Same { get; set; }

        public long? ExtraValue { get; set; }

        public static void Extra(int a = 1) => Assert.NotEqual(0, a);
    }
}
