using FastBertTokenizer;

namespace Samples.Pretrained.Text;

/// <summary>BERT's tokenizer without capitals: pieces of words by their numbers in a vocabulary.</summary>
internal sealed class WordPieces
{
    private readonly BertTokenizer _tokenizer = new();
    private readonly string[] _pieces;

    private WordPieces(string vocabulary)
    {
        _pieces = vocabulary.ReplaceLineEndings("\n").TrimEnd('\n').Split('\n');
        _tokenizer.LoadVocabulary(new StringReader(vocabulary), convertInputToLowercase: true);
    }

    public static WordPieces Read(TextReader vocabulary)
    {
        using (vocabulary)
        {
            return new WordPieces(vocabulary.ReadToEnd());
        }
    }

    /// <summary>The pieces of a text between [CLS] and [SEP], cut at a length and filled up to it.</summary>
    /// <returns>The ids, and 1 for a piece or 0 for padding.</returns>
    public (long[] Ids, long[] Mask) Encode(string text, int length)
    {
        var (ids, mask, _) = _tokenizer.Encode(text, length, padTo: length);
        return (ids.ToArray(), mask.ToArray());
    }

    /// <summary>What a piece reads; "##" before it says that it goes on a word.</summary>
    public string Text(long id) => _pieces[id];
}
