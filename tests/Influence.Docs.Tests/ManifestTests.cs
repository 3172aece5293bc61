using System.Globalization;
using System.Text.RegularExpressions;
using Xunit;
using YamlDotNet.RepresentationModel;

namespace Influence.Docs.Tests;

/// <summary>The manifest for Kubernetes, which no test here can run: its form is that of an indexed job, and its parts fit
/// together.</summary>
public partial class ManifestTests
{
    private static readonly YamlMappingNode s_job = Read("samples/applications/Cluster/kubernetes.yaml");

    [Fact]
    public void It_is_an_indexed_job()
    {
        Assert.Equal(("batch/v1", "Job"), (Text(s_job, "apiVersion"), Text(s_job, "kind")));
        Assert.Matches(DnsLabel(), Text(Map(s_job, "metadata"), "name"));
        var spec = Map(s_job, "spec");
        Assert.Equal("Indexed", Text(spec, "completionMode"));
        Assert.InRange(Number(spec, "parallelism"), 1, Number(spec, "completions"));
        Assert.True(Number(spec, "backoffLimit") > 0);
        Assert.Equal(["backoffLimit", "completionMode", "completions", "parallelism", "template"], Keys(spec));
    }

    /// <summary>Kubernetes sets the index; the number of processes is the manifest's to say, as a string.</summary>
    [Fact]
    public void It_says_how_many_processes_there_are()
    {
        var variables = List(Container(), "env").ToDictionary(v => Text(v, "name"), v => (YamlScalarNode)v.Children["value"]);
        Assert.Equal(Text(Map(s_job, "spec"), "completions"), variables["WORLD_SIZE"].Value);
        Assert.All(variables.Values, v => Assert.Equal(YamlDotNet.Core.ScalarStyle.DoubleQuoted, v.Style));
        Assert.DoesNotContain("JOB_COMPLETION_INDEX", variables.Keys);
    }

    [Fact]
    public void Its_pods_share_the_folder_that_the_command_names()
    {
        var pod = Map(Map(Map(s_job, "spec"), "template"), "spec");
        Assert.Contains(Text(pod, "restartPolicy"), new[] { "OnFailure", "Never" });
        var container = Container();
        Assert.Matches(DnsLabel(), Text(container, "name"));
        var volumes = List(pod, "volumes").ToDictionary(v => Text(v, "name"), v => Text(Map(v, "persistentVolumeClaim"), "claimName"));
        Assert.All(volumes.Values, claim => Assert.Matches(DnsLabel(), claim));
        var mount = Assert.Single(List(container, "volumeMounts"));
        Assert.Contains(Text(mount, "name"), volumes.Keys);
        string[] command = [.. ((YamlSequenceNode)container.Children["command"]).Select(word => ((YamlScalarNode)word).Value!)];
        Assert.Equal(Text(mount, "mountPath"), command[Array.IndexOf(command, "--folder") + 1]);
        Assert.Matches(Quantity(), Text(Map(Map(container, "resources"), "limits"), "memory"));
    }

    private static YamlMappingNode Container() => Assert.Single(List(Map(Map(Map(s_job, "spec"), "template"), "spec"), "containers"));

    private static YamlMappingNode Read(string name)
    {
        var stream = new YamlStream();
        using var reader = new StreamReader(Path.Combine(Page.Root, name));
        stream.Load(reader);
        return (YamlMappingNode)Assert.Single(stream.Documents).RootNode;
    }

    private static YamlMappingNode Map(YamlMappingNode node, string key) => Assert.IsType<YamlMappingNode>(node.Children[key]);

    private static IEnumerable<YamlMappingNode> List(YamlMappingNode node, string key) =>
        Assert.IsType<YamlSequenceNode>(node.Children[key]).Cast<YamlMappingNode>();

    private static string Text(YamlMappingNode node, string key) => Assert.IsType<YamlScalarNode>(node.Children[key]).Value!;

    private static int Number(YamlMappingNode node, string key) => int.Parse(Text(node, key), CultureInfo.InvariantCulture);

    private static IEnumerable<string> Keys(YamlMappingNode node) =>
        node.Children.Keys.Select(key => ((YamlScalarNode)key).Value!).Order(StringComparer.Ordinal);

    [GeneratedRegex("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    private static partial Regex DnsLabel();

    [GeneratedRegex("^[1-9][0-9]*(Mi|Gi)$")]
    private static partial Regex Quantity();
}
