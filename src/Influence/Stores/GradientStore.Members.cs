using System.Globalization;

namespace Influence.Stores;

/// <summary>Several stores of the same examples in one folder.</summary>
public sealed partial class GradientStore
{
    private const string MemberPrefix = "member-";

    /// <summary>
    /// Writes a store at each of several checkpoints, as members <c>member-000</c>, <c>member-001</c> and so on of one folder: what sums or
    /// averages over a run (TracIn, LESS, TRAK) takes. Member m draws its signs with Seed + m, so that the members' errors are independent.
    /// What is there already is not written again.
    /// </summary>
    /// <inheritdoc cref="Write"/>
    /// <param name="task">The model and its loss; the weights that it had are back at the end.</param>
    /// <param name="checkpoints">Of the task's model. Where the projection has a direction and no moments, each member's are its
    /// checkpoint's own.</param>
    /// <param name="train">N training examples, in the same order at each call.</param>
    /// <param name="projection">How many dimensions.</param>
    /// <param name="folder">The folder; it is made where it is missing.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches; what was written stays.</param>
    /// <returns>The members, in the order of the checkpoints.</returns>
    public static IReadOnlyList<GradientStore> WriteMembers(
        InfluenceTask task,
        IReadOnlyList<Checkpoint> checkpoints,
        Examples train,
        GradientProjection projection,
        string folder,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(checkpoints);
        ArgumentNullException.ThrowIfNull(projection);
        CheckAny(checkpoints.Count, "checkpoint");
        using var original = new KeptWeights(task.Model);
        try
        {
            var members = new List<GradientStore>();
            foreach (var checkpoint in checkpoints)
            {
                original.Restore();
                checkpoint.LoadInto(task.Model);
                var own =
                    projection.Direction == GradientProjection.UpdateDirection.Gradient
                        ? projection
                        : projection with
                        {
                            Moments = projection.Moments ?? checkpoint,
                        };
                members.Add(
                    Write(
                        task,
                        train,
                        own with
                        {
                            Seed = own.Seed + members.Count,
                        },
                        MemberFolder(folder, members.Count),
                        progress,
                        cancellationToken
                    )
                );
            }

            return members;
        }
        finally
        {
            original.Restore();
        }
    }

    /// <summary>The same for several models, trained on the same data with other seeds for instance, each with its own loss
    /// delegate.</summary>
    /// <inheritdoc
    /// cref="WriteMembers(InfluenceTask, IReadOnlyList{Checkpoint}, Examples, GradientProjection, string, IProgress{InfluenceProgress}?,
    /// CancellationToken)"/>
    /// <param name="models">The models, each with the weights that its member is of.</param>
    /// <param name="train">N training examples, in the same order at each call.</param>
    /// <param name="projection">How many dimensions.</param>
    /// <param name="folder">The folder; it is made where it is missing.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches; what was written stays.</param>
    /// <returns>The members, in the order of the models.</returns>
    public static IReadOnlyList<GradientStore> WriteMembers(
        IReadOnlyList<InfluenceTask> models,
        Examples train,
        GradientProjection projection,
        string folder,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(models);
        ArgumentNullException.ThrowIfNull(projection);
        CheckAny(models.Count, "model");
        return
        [
            .. models.Select(
                (task, m) =>
                    Write(task, train, projection with { Seed = projection.Seed + m }, MemberFolder(folder, m), progress, cancellationToken)
            ),
        ];
    }

    /// <summary>Opens all members of a folder that
    /// <see
    /// cref="WriteMembers(InfluenceTask, IReadOnlyList{Checkpoint}, Examples, GradientProjection, string, IProgress{InfluenceProgress}?,
    /// CancellationToken)"/>
    /// wrote.</summary>
    /// <param name="folder">The folder.</param>
    /// <returns>The members, in order.</returns>
    /// <exception cref="InfluenceException">There is none, one is missing between others or not complete, or they are of other examples or
    /// projections; it is named.</exception>
    public static IReadOnlyList<GradientStore> OpenMembers(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        var members = new List<GradientStore>();
        while (Directory.Exists(MemberFolder(folder, members.Count)))
        {
            members.Add(Open(MemberFolder(folder, members.Count)));
        }

        var found = Directory.Exists(folder) ? Directory.GetDirectories(folder, $"{MemberPrefix}*").Length : 0;
        if (members.Count == 0 || found != members.Count)
        {
            throw new InfluenceException(
                $"{folder} holds {found} members of a gradient store, of which {members.Count} follow each other "
                    + $"from {MemberPrefix}000. Write them with GradientStore.WriteMembers."
            );
        }

        CheckAlike(members);
        return members;
    }

    /// <summary>Refuses members that are not of the same examples, in the same form.</summary>
    internal static void CheckAlike(IReadOnlyList<GradientStore> members)
    {
        CheckAny(members.Count, "store");
        var first = members[0];
        foreach (var other in members.Skip(1))
        {
            string[] differences =
            [
                .. other._manifest.IdsHash == first._manifest.IdsHash ? Array.Empty<string>() : ["the examples' ids"],
                .. other.Width == first.Width && other._manifest.Form == first._manifest.Form ? Array.Empty<string>() : ["the projection"],
                .. other._manifest.ExamplesPerShard == first._manifest.ExamplesPerShard ? Array.Empty<string>() : ["ExamplesPerShard"],
                .. other.Direction == first.Direction ? Array.Empty<string>() : ["the direction"],
                .. other.Dtype == first.Dtype ? Array.Empty<string>() : ["the precision"],
            ];
            if (differences.Length > 0)
            {
                throw new InfluenceException(
                    $"The stores in {first.Folder} and {other.Folder} are no members of one: they differ in "
                        + $"{string.Join(", ", differences)}. Write them from the same examples with the same projection."
                );
            }
        }
    }

    private static void CheckAny(int count, string what)
    {
        if (count == 0)
        {
            throw new InfluenceException($"At least one {what} is needed; found none.");
        }
    }

    private static string MemberFolder(string folder, int member)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        return Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"{MemberPrefix}{member:000}"));
    }
}
