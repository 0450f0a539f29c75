using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace Ani3D.Core
{
    /// <summary>
    /// JSON as .NET values: Dictionary, List, string, double, bool, null. Refuses repeated keys, depth beyond 32 and
    /// anything after the value, with a FormatException.
    /// </summary>
    public sealed class Json
    {
        const int MaxDepth = 32;
        readonly string text;
        int at;

        Json(string text)
        {
            this.text = text;
        }

        public static object Parse(string text)
        {
            var reader = new Json(text);
            object value = reader.Value(0);
            reader.Space();
            if (reader.at != text.Length) throw reader.Wrong();
            return value;
        }

        object Value(int depth)
        {
            if (depth > MaxDepth) throw Wrong();
            Space();
            switch (Peek())
            {
                case '{': return Object(depth);
                case '[': return List(depth);
                case '"': return String();
                case 't': return Word("true", true);
                case 'f': return Word("false", false);
                case 'n': return Word("null", null);
                default: return Number();
            }
        }

        Dictionary<string, object> Object(int depth)
        {
            var value = new Dictionary<string, object>();
            at++;
            Space();
            if (Take('}')) return value;
            do
            {
                Space();
                if (Peek() != '"') throw Wrong();
                string key = String();
                Space();
                if (!Take(':') || value.ContainsKey(key)) throw Wrong();
                value.Add(key, Value(depth + 1));
                Space();
            } while (Take(','));
            if (!Take('}')) throw Wrong();
            return value;
        }

        List<object> List(int depth)
        {
            var value = new List<object>();
            at++;
            Space();
            if (Take(']')) return value;
            do
            {
                value.Add(Value(depth + 1));
                Space();
            } while (Take(','));
            if (!Take(']')) throw Wrong();
            return value;
        }

        string String()
        {
            var value = new StringBuilder();
            at++;
            while (Peek() != '"')
            {
                char letter = text[at++];
                if (letter < ' ') throw Wrong();
                value.Append(letter == '\\' ? Escape() : letter);
            }
            at++;
            return value.ToString();
        }

        char Escape()
        {
            char letter = Peek();
            at++;
            int simple = "\"\\/bfnrt".IndexOf(letter);
            if (simple >= 0) return "\"\\/\b\f\n\r\t"[simple];
            if (letter != 'u' || at + 4 > text.Length) throw Wrong();
            if (!ushort.TryParse(text.Substring(at, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture,
                    out ushort code)) throw Wrong();
            at += 4;
            return (char)code;
        }

        object Word(string word, object value)
        {
            if (string.CompareOrdinal(text, at, word, 0, word.Length) != 0) throw Wrong();
            at += word.Length;
            return value;
        }

        object Number()
        {
            int start = at;
            while (at < text.Length && "+-.0123456789eE".IndexOf(text[at]) >= 0) at++;
            if (!double.TryParse(text.Substring(start, at - start), NumberStyles.Float, CultureInfo.InvariantCulture,
                    out double value) || double.IsInfinity(value) || double.IsNaN(value)) throw Wrong();
            return value;
        }

        char Peek()
        {
            if (at >= text.Length) throw Wrong();
            return text[at];
        }

        bool Take(char letter)
        {
            if (at >= text.Length || text[at] != letter) return false;
            at++;
            return true;
        }

        void Space()
        {
            while (at < text.Length && " \t\r\n".IndexOf(text[at]) >= 0) at++;
        }

        FormatException Wrong() => new FormatException($"is not JSON at character {at}");
    }
}
