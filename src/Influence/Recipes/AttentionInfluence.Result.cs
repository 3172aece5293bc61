using Influence.Display;
using Influence.Numerics;

namespace Influence.Recipes;

public sealed partial record AttentionInfluence
{
    /// <summary>What <see cref="AttentionInfluence"/> found. Plain memory; nothing to dispose.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly ExampleGroups? _groups;

        internal Result(ExampleScores scores, ExampleGroups? groups, RetrievalHeads heads, IReadOnlyList<RetrievalHeads.Head> masked)
        {
            (Scores, Heads, Masked, _groups) = (scores, heads, masked, groups);
            WithinGroups = Percentiles(scores, groups);
        }

        /// <summary>One score a document; comparable within a domain only.</summary>
        public ExampleScores Scores { get; }

        /// <summary>
        /// Each document's place within its group of n, (rank - 1/2) / n from 0 to 1, the highest score nearest to 1; ties share. The top
        /// 20 percent of every domain are those above 0.8, or <c>new Stratified(new TopK())</c>'s of the scores.
        /// </summary>
        public ExampleScores WithinGroups { get; }

        /// <summary>Every head of the model by how much it copies.</summary>
        public RetrievalHeads Heads { get; }

        /// <summary>Those that were masked.</summary>
        public IReadOnlyList<RetrievalHeads.Head> Masked { get; }

        /// <summary>A table of the highest scores within their groups.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        /// <summary>Refuses documents in no group, or in several.</summary>
        internal static void CheckGroups(IReadOnlyList<long> ids, ExampleGroups? groups)
        {
            if (groups is null)
            {
                return;
            }

            var problems = new List<string>();
            var without = ids.Where(id => !groups.GroupsOf.ContainsKey(id)).ToList();
            var several = ids.Where(id => groups.GroupsOf.TryGetValue(id, out var names) && names.Count > 1).ToList();
            if (without.Count > 0)
            {
                problems.Add($"Documents are ranked within their group; these are in none: ids {InfluenceException.List(without)}.");
            }

            if (several.Count > 0)
            {
                problems.Add($"Documents are ranked within their group; these are in several: ids {InfluenceException.List(several)}.");
            }

            InfluenceException.ThrowIfAny(problems);
        }

        private static ExampleScores Percentiles(ExampleScores scores, ExampleGroups? groups)
        {
            var values = new double[scores.Count];
            foreach (var group in Enumerable.Range(0, scores.Count).GroupBy(i => groups?.GroupsOf[scores.Ids[i]][0] ?? string.Empty))
            {
                int[] members = [.. group];
                var ranks = Ranks.Of([.. members.Select(i => scores[i])]);
                for (var k = 0; k < members.Length; k++)
                {
                    values[members[k]] = (ranks[k] - 0.5) / members.Length;
                }
            }

            return new ExampleScores(
                "AttentionInfluence, place within the group",
                scores.Ids,
                values,
                scores.Metadata with
                {
                    Sign = "high = among the highest of its group",
                    Unit = "place within the group, 0 to 1",
                }
            );
        }

        private Table ToTable()
        {
            var position = Scores.Ids.Select((id, i) => (id, i)).ToDictionary(pair => pair.id, pair => pair.i);
            return new(
                $"AttentionInfluence: {Scores.Count:N0} documents, {Masked.Count} of {Heads.Count} heads masked "
                    + $"({InfluenceException.List(Masked)}), highest of their groups first",
                ["id", "group", "place", "score"],
                [
                    .. WithinGroups
                        .Highest(Math.Min(Scores.Count, Table.MaximumRows))
                        .Select(e => (IReadOnlyList<object>)[e.Id, _groups?.GroupsOf[e.Id][0] ?? "all", e.Score, Scores[position[e.Id]]]),
                ],
                Scores.Count
            );
        }
    }
}
